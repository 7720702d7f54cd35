{# The ledger: a window of a table is mirrored, a table scanned or copied, when its row is here. Rows are added, never
   changed. #}
CREATE TABLE IF NOT EXISTS {{ own('cargas') }}
(
    `id` UUID,
    `plan` UUID COMMENT 'the planning that asked for it: one per try of plan_windows',
    `tabela` LowCardinality(String),
    `kind` LowCardinality(String),
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
    `money` Map(LowCardinality(String), Decimal(38, 9)),
    `run_id` String,
    `try_number` UInt16,
    `started_at` DateTime64(6, 'UTC'),
    `finished_at` DateTime64(6, 'UTC') COMMENT 'when its rows stood verified in the stage; they are published right after'
)
ENGINE = MergeTree
ORDER BY (tabela, inicio, version)
