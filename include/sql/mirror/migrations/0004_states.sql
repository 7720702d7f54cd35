{# What is known of each table at the end of a run: all tables of one run at the same moment, rows are only added. #}
CREATE TABLE IF NOT EXISTS {{ own('estados') }}
(
    `seen_at` DateTime64(6, 'UTC') COMMENT 'when, on the clock of the source',
    `run_id` String,
    `tabela` LowCardinality(String),
    `way` LowCardinality(String) COMMENT 'how inserts and updates are found',
    `way_reason` String,
    `deletes` LowCardinality(String) COMMENT 'by what deleted rows are found',
    `deletes_reason` String,
    `rows_about` Nullable(UInt64) COMMENT 'how many rows the source has, as it estimates',
    `covered_until` Nullable(DateTime64(6, 'UTC')) COMMENT 'up to when all that was committed is in the warehouse',
    `owed` UInt32 COMMENT 'windows that have to be read again, since a transaction was open when they were read',
    `set_aside` String COMMENT 'why the table is not mirrored at present, empty where it is'
)
ENGINE = MergeTree
ORDER BY (seen_at, tabela)
;
CREATE OR REPLACE VIEW {{ shown('estado') }} AS
WITH
    newest AS (SELECT * FROM {{ own('estados') }} WHERE seen_at = (SELECT max(seen_at) FROM {{ own('estados') }})),
    compared AS
    (
        SELECT
            tabela,
            argMax(word, started_at) AS word,
            argMax(reason, started_at) AS reason,
            argMax(samples, started_at) AS samples,
            argMax(missing + extra + different, started_at) AS wrong,
            argMax(repaired, started_at) AS repaired,
            argMaxIf(method, started_at, r.word IN ('equal', 'repaired')) AS method,
            maxIf(version, r.word IN ('equal', 'repaired')) AS version
        FROM {{ own('reconciliacoes') }} AS r
        GROUP BY tabela
    ),
    moved AS
    (
        SELECT
            tabela,
            maxIf(version, rows > 0 AND kind != 'repair') AS moved,
            maxIf(version, kind = 'copy') AS copied,
            maxIf(version, kind = 'forget') AS forgotten
        FROM {{ own('cargas') }}
        GROUP BY tabela
    )
SELECT
    newest.tabela AS tabela,
    multiIf(
        set_aside != '' OR compared.word = 'differs', 'differs',
        greatest(compared.version, copied) <= forgotten, 'never compared',
        moved > greatest(compared.version, copied) OR owed > 0 OR covered_until IS NULL, 'follows',
        'equal'
    ) AS word,
    multiIf(
        set_aside != '', set_aside,
        compared.word IN ('differs', 'unknown'), arrayStringConcat(arrayPushFront(samples, compared.reason), '; '),
        ''
    ) AS reason,
    way, way_reason, deletes, deletes_reason, rows_about, covered_until,
    greatest(0, round(dateDiff('millisecond', covered_until, now64(6, 'UTC')) / 1000, 1)) AS lag_seconds,
    owed,
    if(greatest(compared.version, copied) = 0, NULL, fromUnixTimestamp64Micro(toInt64(greatest(compared.version, copied)), 'UTC'))
        AS compared_at,
    multiIf(greatest(compared.version, copied) = 0, '', copied > compared.version, 'a copy compares all rows', method)
        AS compared_by,
    wrong, repaired, seen_at, run_id
FROM newest
LEFT JOIN compared ON compared.tabela = newest.tabela
LEFT JOIN moved ON moved.tabela = newest.tabela
ORDER BY indexOf(['differs', 'never compared', 'follows', 'equal'], word), tabela
