-- The ledger: a run is collected when its row is here. Rows of other tables count only if their run is here. The
-- insert_deduplication_token, the run's id, drops a second row of a run, from an attempt that was given up and still ended.
CREATE TABLE IF NOT EXISTS coleta
(
    `coleta` UUID COMMENT 'one attempt to collect',
    `execucao` String COMMENT 'run id',
    `momento` DateTime64(6, 'UTC') COMMENT 'the own time of the run; the CSV has it in the time of São Paulo',
    `coletado_em` DateTime64(6, 'UTC') COMMENT 'when the service was asked',
    `dia` Date32 COMMENT 'the day in São Paulo that was asked for',
    `gravacao` String COMMENT 'the recording that was replayed; empty for the service itself',
    `eventos` UInt32 COMMENT 'events of CET-RIO, each once',
    `de_outros` UInt32 COMMENT 'events for which others are responsible',
    `recusados` UInt32 COMMENT 'events that were set aside',
    `repetidos` UInt32 COMMENT 'events that stood in the lists once more',
    `atraso` String COMMENT 'what the service said of stale data; empty for fresh data',
    `pops_desconhecidos` Array(UInt64),
    `avisos` Array(String),
    `requisicoes` UInt32,
    `tentativas` Map(String, UInt32) COMMENT 'tries by path, successful ones included',
    `retentativas` UInt32 COMMENT 'tries that were not the first of their request'
)
ENGINE = MergeTree
PARTITION BY toYear(momento)
ORDER BY (momento, execucao)
SETTINGS non_replicated_deduplication_window = 10000
