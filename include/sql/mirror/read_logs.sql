{# Per table, the newest reading of its log of deleted keys, and the newest of those that were taken before a moment. #}
SELECT
    tabela, max(version), argMax(snapshot_xmin, version),
    argMax(if(source_timeline IN (0, {timeline:UInt32}), source_system, 0), version), argMax(log, version),
    fim <= {kept:DateTime64(6, 'UTC')} AS is_old
FROM {{ ledger }} AS carga
LEFT JOIN (SELECT tabela, max(version) AS until FROM {{ ledger }} WHERE kind = 'forget' GROUP BY tabela) AS forgotten
    USING (tabela)
WHERE kind = 'log' AND version > ifNull(until, 0)
  AND built = {built:Array(UInt64)}[indexOf({rebuilt:Array(String)}, tabela)]
GROUP BY tabela, is_old
