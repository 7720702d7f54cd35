{# Per table, the newest scan that was taken before a moment: what its snapshot saw. It counts as far as it goes back to
   a scan of everything (inicio is the epoch): one that was planned before its table was forgotten is worth nothing,
   whenever it was moved. #}
SELECT
    tabela, max(fim), argMax(snapshot_xmin, version),
    argMax(if(source_timeline IN (0, {timeline:UInt32}), source_system, 0), version), argMax(seen, version)
FROM {{ ledger }} AS carga
LEFT JOIN (SELECT tabela, max(version) AS until FROM {{ ledger }} WHERE kind = 'forget' GROUP BY tabela) AS forgotten
    USING (tabela)
WHERE kind = 'scan' AND version > ifNull(until, 0)
  AND built = {built:Array(UInt64)}[indexOf({rebuilt:Array(String)}, tabela)]
  AND (toUnixTimestamp64Micro(inicio) = 0 OR toUnixTimestamp64Micro(inicio) > ifNull(until, 0)) AND fim <= {before:DateTime64(6, 'UTC')}
GROUP BY tabela
