-- A warehouse as the first version of the mirror made it: databases, ledger, the six tables and their views.
CREATE DATABASE IF NOT EXISTS vendas_raw
;
CREATE DATABASE IF NOT EXISTS vendas_dw
;
CREATE TABLE IF NOT EXISTS vendas_raw.cargas
(
    `id` UUID,
    `plan` UUID COMMENT 'the planning that asked for it: one per try of plan_windows',
    `tabela` LowCardinality(String),
    `kind` LowCardinality(String) COMMENT 'window: everything in it; reread: what became visible since it was read',
    `inicio` DateTime64(6, 'UTC'),
    `fim` DateTime64(6, 'UTC'),
    `key_from` Nullable(Int64) COMMENT 'inclusive; NULL is open',
    `key_to` Nullable(Int64) COMMENT 'exclusive; NULL is open',
    `version` UInt64 COMMENT 'when its snapshot was taken: microseconds since 1970 on the clock of the source',
    `snapshot_xmin` UInt64 COMMENT 'lowest transaction id that was running then',
    `source_system` UInt64 COMMENT 'system identifier of the cluster whose transaction ids these are',
    `noted_at` DateTime64(6, 'UTC') COMMENT 'when open transactions were noted, on the clock of the source',
    `open_sessions` Array(Tuple(pid Int32, connected_at DateTime64(6, 'UTC'), start DateTime64(6, 'UTC')))
        COMMENT 'transactions that may still commit rows into the window',
    `prepared` Array(Tuple(xid UInt64, gid String, since Nullable(DateTime64(6, 'UTC'))))
        COMMENT 'transactions prepared for two-phase commit; since: may hold rows of the window from then on',
    `settles` Array(UUID) COMMENT 'ledger rows whose noted transactions this re-read answers for',
    `rows` UInt64,
    `money` Map(LowCardinality(String), Decimal(38, 9)) COMMENT 'exact sum per decimal column',
    `run_id` String,
    `try_number` UInt16,
    `started_at` DateTime64(6, 'UTC'),
    `finished_at` DateTime64(6, 'UTC') COMMENT 'when its rows stood verified in the stage; they are published right after'
)
ENGINE = MergeTree
ORDER BY (tabela, inicio, version)
;
CREATE TABLE IF NOT EXISTS vendas_raw.pais
(
    `pais_id` UInt32,
    `pais` String,
    `created_at` Nullable(DateTime64(6, 'UTC')),
    `updated_at` DateTime64(6, 'UTC'),
    `version` UInt64 COMMENT 'order of the snapshot that the row was read in',
    `is_deleted` UInt8 DEFAULT 0,
    INDEX version_range version TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(version, is_deleted)
PARTITION BY intDiv(pais_id, 10000000)
ORDER BY pais_id
;
CREATE TABLE IF NOT EXISTS vendas_raw.cidade
(
    `cidade_id` UInt32,
    `cidade_desc` String,
    `cidade_uf` LowCardinality(Nullable(String)),
    `pais_id` Nullable(UInt32),
    `created_at` Nullable(DateTime64(6, 'UTC')),
    `updated_at` DateTime64(6, 'UTC'),
    `version` UInt64 COMMENT 'order of the snapshot that the row was read in',
    `is_deleted` UInt8 DEFAULT 0,
    INDEX version_range version TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(version, is_deleted)
PARTITION BY intDiv(cidade_id, 10000000)
ORDER BY cidade_id
;
CREATE TABLE IF NOT EXISTS vendas_raw.cliente
(
    `cliente_id` UInt32,
    `nome` String,
    `data_nasc` Nullable(Date32),
    `data_cad` Nullable(Date32),
    `cpf` Nullable(String),
    `cidade_id` Nullable(UInt32),
    `created_at` Nullable(DateTime64(6, 'UTC')),
    `updated_at` DateTime64(6, 'UTC'),
    `version` UInt64 COMMENT 'order of the snapshot that the row was read in',
    `is_deleted` UInt8 DEFAULT 0,
    INDEX version_range version TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(version, is_deleted)
PARTITION BY intDiv(cliente_id, 10000000)
ORDER BY cliente_id
;
CREATE TABLE IF NOT EXISTS vendas_raw.produto
(
    `produto_id` UInt32,
    `nome` String,
    `descricao` Nullable(String),
    `preco_base` Nullable(Decimal(10, 2)),
    `ativo` Nullable(Bool),
    `created_at` Nullable(DateTime64(6, 'UTC')),
    `updated_at` DateTime64(6, 'UTC'),
    `version` UInt64 COMMENT 'order of the snapshot that the row was read in',
    `is_deleted` UInt8 DEFAULT 0,
    INDEX version_range version TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(version, is_deleted)
PARTITION BY intDiv(produto_id, 10000000)
ORDER BY produto_id
;
CREATE TABLE IF NOT EXISTS vendas_raw.venda
(
    `venda_id` UInt32,
    `cliente_id` Nullable(UInt32),
    `data` Nullable(Date32),
    `entregue` LowCardinality(Nullable(String)),
    `valor_total` Nullable(Decimal(10, 2)),
    `created_at` Nullable(DateTime64(6, 'UTC')),
    `updated_at` DateTime64(6, 'UTC'),
    `version` UInt64 COMMENT 'order of the snapshot that the row was read in',
    `is_deleted` UInt8 DEFAULT 0,
    INDEX version_range version TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(version, is_deleted)
PARTITION BY intDiv(venda_id, 10000000)
ORDER BY venda_id
;
CREATE TABLE IF NOT EXISTS vendas_raw.item_venda
(
    `item_id` UInt32,
    `venda_id` Nullable(UInt32),
    `produto_id` Nullable(UInt32),
    `valor_unitario` Nullable(Decimal(10, 2)),
    `quantidade` Nullable(Int32),
    `valor_total` Nullable(Decimal(10, 2)),
    `created_at` Nullable(DateTime64(6, 'UTC')),
    `updated_at` DateTime64(6, 'UTC'),
    `version` UInt64 COMMENT 'order of the snapshot that the row was read in',
    `is_deleted` UInt8 DEFAULT 0,
    INDEX version_range version TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(version, is_deleted)
PARTITION BY intDiv(item_id, 10000000)
ORDER BY item_id
;
CREATE VIEW IF NOT EXISTS vendas_dw.cargas AS
SELECT
    tabela, kind, inicio, fim, key_from, key_to, rows, money, version,
    length(open_sessions) + arrayCount(p -> isNotNull(p.since), prepared) AS open_transactions,
    run_id, try_number, started_at, finished_at
FROM vendas_raw.cargas
;
CREATE OR REPLACE VIEW vendas_dw.pais AS
SELECT `pais_id`, `pais`, `created_at`, `updated_at`
FROM vendas_raw.pais FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
;
CREATE OR REPLACE VIEW vendas_dw.cidade AS
SELECT `cidade_id`, `cidade_desc`, `cidade_uf`, `pais_id`, `created_at`, `updated_at`
FROM vendas_raw.cidade FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
;
CREATE OR REPLACE VIEW vendas_dw.cliente AS
SELECT `cliente_id`, `nome`, `data_nasc`, `data_cad`, `cpf`, `cidade_id`, `created_at`, `updated_at`
FROM vendas_raw.cliente FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
;
CREATE OR REPLACE VIEW vendas_dw.produto AS
SELECT `produto_id`, `nome`, `descricao`, `preco_base`, `ativo`, `created_at`, `updated_at`
FROM vendas_raw.produto FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
;
CREATE OR REPLACE VIEW vendas_dw.venda AS
SELECT `venda_id`, `cliente_id`, `data`, `entregue`, `valor_total`, `created_at`, `updated_at`
FROM vendas_raw.venda FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
;
CREATE OR REPLACE VIEW vendas_dw.item_venda AS
SELECT `item_id`, `venda_id`, `produto_id`, `valor_unitario`, `quantidade`, `valor_total`, `created_at`, `updated_at`
FROM vendas_raw.item_venda FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
;
