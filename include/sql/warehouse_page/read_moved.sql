-- What the ledger says of the last day, one row per table. A read adds to the lag when it ends: the rows that it brings were
-- committed after the newest moment that was covered before it. It reads one day of the ledger: some thousand rows.
SELECT
    tabela,
    sum(rows) AS moved,
    sumIf(rows, kind = 'reread') AS moved_again,
    countIf(kind = 'reread') AS read_again,
    max(behind) AS lag_most,
    quantileExactIf(0.5)(behind, behind > 0) AS lag_usual
FROM
(
    SELECT
        tabela, kind, rows,
        max(until) OVER (PARTITION BY tabela ORDER BY finished_at, until ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
            AS covered,
        if(until > covered AND covered > toDateTime64(0, 6, 'UTC'), dateDiff('millisecond', covered, finished_at) / 1000, 0)
            AS behind
    FROM
    (
        SELECT tabela, kind, rows, finished_at, if(kind IN ('window', 'scan', 'copy'), fim, toDateTime64(0, 6, 'UTC')) AS until
        FROM cargas
        WHERE finished_at > now64(6, 'UTC') - INTERVAL 1 DAY AND kind NOT IN ('forget', 'exchanged', 'refused')
    )
)
GROUP BY tabela
