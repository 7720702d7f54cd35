{# How many keys a table lacks at the end of a run, where that could be counted; and the word that says so. #}
ALTER TABLE {{ own('estados') }}
    ADD COLUMN IF NOT EXISTS `lacking` Nullable(UInt64)
        COMMENT 'how many keys of the source the warehouse lacks at least; NULL where rows are on their way, or the table is large'
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
        set_aside != '' OR compared.word = 'differs' OR lacking > 0, 'differs',
        greatest(compared.version, copied) <= forgotten, 'never compared',
        moved > greatest(compared.version, copied) OR owed > 0 OR covered_until IS NULL, 'follows',
        'equal'
    ) AS word,
    multiIf(
        set_aside != '', set_aside,
        lacking > 0, format('the warehouse lacks at least {} keys that the source has', toString(lacking)),
        compared.word IN ('differs', 'unknown'), arrayStringConcat(arrayPushFront(samples, compared.reason), '; '),
        ''
    ) AS reason,
    way, way_reason, deletes, deletes_reason, rows_about, covered_until,
    greatest(0, round(dateDiff('millisecond', covered_until, now64(6, 'UTC')) / 1000, 1)) AS lag_seconds,
    owed, lacking,
    if(greatest(compared.version, copied) = 0, NULL, fromUnixTimestamp64Micro(toInt64(greatest(compared.version, copied)), 'UTC'))
        AS compared_at,
    multiIf(greatest(compared.version, copied) = 0, '', copied > compared.version, 'a copy compares all rows', method)
        AS compared_by,
    wrong, repaired, seen_at, run_id
FROM newest
LEFT JOIN compared ON compared.tabela = newest.tabela
LEFT JOIN moved ON moved.tabela = newest.tabela
ORDER BY indexOf(['differs', 'never compared', 'follows', 'equal'], word), tabela
