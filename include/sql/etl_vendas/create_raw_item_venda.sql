-- Partitioned by a range of the key: a row can never move to another partition, so FINAL within partitions is right.
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
