-- The last comparison of each table, or of the one table `tabela` its last `count` ones.
SELECT
    tabela, word, reason, method, rows_source, rows_warehouse, missing, extra, different, deleted, repaired, in_flight, coming,
    undecided, samples, only_report, run_id, started_at, finished_at
FROM reconciliacoes
WHERE {tabela:String} IN ('', tabela)
ORDER BY started_at DESC
LIMIT {count:UInt32} BY tabela
