-- The service's newest answer about each POP.
CREATE TABLE IF NOT EXISTS pop
(
    `pop_id` UInt64,
    `titulo` String,
    `responsavel` Bool COMMENT 'CET-RIO has an activity in it',
    `orgaos` Array(String),
    `consultado_em` DateTime64(6, 'UTC')
)
ENGINE = ReplacingMergeTree(consultado_em)
ORDER BY pop_id
