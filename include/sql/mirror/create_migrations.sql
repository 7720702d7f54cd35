{# The applied migrations of the mirror's own tables. #}
CREATE TABLE IF NOT EXISTS {{ table }}
(
    `number` UInt32,
    `name` String,
    `applied_at` DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = MergeTree
ORDER BY number
