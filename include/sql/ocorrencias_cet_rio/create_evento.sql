-- Single events, as each collection found them. The engine is Replacing, so an INSERT that arrives twice counts once.
CREATE TABLE IF NOT EXISTS evento
(
    `momento` DateTime64(6, 'UTC'),
    `coleta` UUID,
    `evento_id` UInt64,
    `pop_id` UInt64,
    `tipo_ocorrencia` LowCardinality(String) COMMENT 'the title of the POP',
    `status` LowCardinality(String),
    `titulo` String,
    `tipo` LowCardinality(String),
    `bairro` LowCardinality(String),
    `gravidade` LowCardinality(String),
    `prazo` LowCardinality(String),
    `descricao` String,
    `inicio` DateTime('America/Sao_Paulo'),
    `latitude` Nullable(Float64) COMMENT 'degrees; NULL together with longitude',
    `longitude` Nullable(Float64),
    `informe_id` Nullable(UInt64),
    `anexos` UInt16 COMMENT 'how many'
)
ENGINE = ReplacingMergeTree
PARTITION BY toYear(momento)
ORDER BY (momento, coleta, evento_id)
