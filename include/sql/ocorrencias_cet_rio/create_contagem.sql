CREATE TABLE IF NOT EXISTS contagem
(
    `momento` DateTime64(6, 'UTC'),
    `coleta` UUID,
    `tipo_ocorrencia` LowCardinality(String) COMMENT 'the title of the POP',
    `status_ocorrencia` LowCardinality(String),
    `quantidade_ocorrencia` UInt32
)
ENGINE = ReplacingMergeTree
PARTITION BY toYear(momento)
ORDER BY (momento, coleta, tipo_ocorrencia, status_ocorrencia)
