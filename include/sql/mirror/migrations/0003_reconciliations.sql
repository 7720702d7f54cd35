{# What each comparison of a table with its source has found: rows are only added. #}
CREATE TABLE IF NOT EXISTS {{ own('reconciliacoes') }}
(
    `tabela` LowCardinality(String),
    `word` LowCardinality(String) COMMENT 'equal, repaired, differs, or unknown where that could not be told',
    `reason` String COMMENT 'why it could not be told, or why nothing was repaired',
    `method` String COMMENT 'how both sides were compared',
    `version` UInt64 COMMENT 'the snapshot that was compared: microseconds since 1970 on the clock of the source; 0 for none',
    `rows_source` UInt64,
    `rows_warehouse` UInt64,
    `moved` UInt64 COMMENT 'sums and hashes that were sent to be compared',
    `in_flight` UInt64 COMMENT 'rows that differed at first, and were equal once the mirror had moved what the snapshot saw',
    `missing` UInt64 COMMENT 'rows that the warehouse had not, and should have had',
    `extra` UInt64 COMMENT 'rows that the warehouse had, and should not have had',
    `different` UInt64 COMMENT 'rows with other values than in the source',
    `deleted` UInt64 COMMENT 'rows deleted in the source, of a table whose deleted rows nothing else finds',
    `repaired` UInt64 COMMENT 'rows of all these that were put right, and proved equal after that',
    `undecided` UInt64 COMMENT 'rows of which it could not be told whether they are wrong or merely not moved yet',
    `samples` Array(String) COMMENT 'some keys, with what both sides held',
    `statements` UInt32 COMMENT 'in the source',
    `longest` Float64 COMMENT 'seconds that the longest of them took',
    `only_report` Bool,
    `run_id` String,
    `try_number` UInt16,
    `started_at` DateTime64(6, 'UTC'),
    `finished_at` DateTime64(6, 'UTC')
)
ENGINE = MergeTree
ORDER BY (tabela, started_at)
;
CREATE OR REPLACE VIEW {{ shown('reconciliacoes') }} AS SELECT * FROM {{ own('reconciliacoes') }}
