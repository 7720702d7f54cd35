-- Partitioned by a range of the key: a row can never move to another partition, so FINAL within partitions is right.
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
