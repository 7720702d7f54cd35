-- The newest reads of the last day, at most `cells` per table, oldest first.
SELECT tabela, arrayReverse(groupArray((kind, inicio, fim, rows, finished_at))) AS reads
FROM
(
    SELECT tabela, kind, inicio, fim, rows, finished_at
    FROM cargas
    WHERE finished_at > now64(6, 'UTC') - INTERVAL 1 DAY AND kind IN ('window', 'reread', 'scan', 'copy', 'rebuild')
    ORDER BY finished_at DESC, fim DESC
    LIMIT {cells:UInt32} BY tabela
)
GROUP BY tabela
