-- The last `count` ledger rows of one table that moved something, or say why it was read in another way.
SELECT kind, inicio, fim, rows, reason, run_id, try_number, finished_at
FROM cargas
WHERE tabela = {tabela:String} AND (rows > 0 OR reason != '' AND kind IN ('forget', 'refused', 'rebuild'))
ORDER BY finished_at DESC
LIMIT {count:UInt32}
