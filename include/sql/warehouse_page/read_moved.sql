-- What the ledger says of the last day, one row per table. When a run ends, its rows have waited since the newest moment that
-- was covered before it. A run that moves an old range again brings no newer moment, and does not count. It reads one day of the
-- ledger: some thousand rows.
SELECT
    tabela,
    sum(rows) AS moved,
    sum(rows_again) AS moved_again,
    sum(reads_again) AS read_again,
    max(behind) AS lag_most,
    quantileExactIf(0.5)(behind, behind > 0) AS lag_usual
FROM
(
    SELECT
        tabela, rows, rows_again, reads_again,
        max(until) OVER (PARTITION BY tabela ORDER BY ended, until ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS covered,
        if(until > covered AND covered > toDateTime64(0, 6, 'UTC'), dateDiff('millisecond', covered, ended) / 1000, 0) AS behind
    FROM
    (
        SELECT
            tabela,
            run_id,
            sum(cargas.rows) AS rows,
            sumIf(cargas.rows, kind = 'reread') AS rows_again,
            countIf(kind = 'reread') AS reads_again,
            max(finished_at) AS ended,
            maxIf(fim, kind IN ('window', 'scan', 'copy')) AS until
        FROM cargas
        WHERE finished_at > now64(6, 'UTC') - INTERVAL 1 DAY AND kind NOT IN ('forget', 'exchanged', 'refused')
        GROUP BY tabela, run_id
    )
)
GROUP BY tabela
