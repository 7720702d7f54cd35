-- Events that were set aside, in the order of the service's answer.
CREATE TABLE IF NOT EXISTS recusado
(
    `momento` DateTime64(6, 'UTC'),
    `coleta` UUID,
    `numero` UInt32,
    `lista` LowCardinality(String),
    `evento_id` String COMMENT 'as the answer had it; empty without one',
    `campo` LowCardinality(String),
    `motivo` String,
    `conteudo` String COMMENT 'the event as JSON, its first 4,000 characters'
)
ENGINE = ReplacingMergeTree
PARTITION BY toYear(momento)
ORDER BY (momento, coleta, numero)
