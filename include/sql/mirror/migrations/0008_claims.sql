{# What each planning is to read, so that a run which plans meanwhile leaves it to that one; and which of these have ended. #}
CREATE TABLE IF NOT EXISTS {{ own('cargas_planejadas') }}
(
    `plan` UUID,
    `run_id` String,
    `planned_at` DateTime64(6, 'UTC') COMMENT 'when, on the clock of the source',
    `reads` String COMMENT 'what is to be read, as JSON; windows before they are cut into pieces',
    `has_ended` Bool COMMENT 'of a row that is added later: the run has ended, or planned anew'
)
ENGINE = MergeTree
ORDER BY planned_at
TTL toDateTime(planned_at) + INTERVAL 30 DAY
