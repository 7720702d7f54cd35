{# For each table and each kind of read that looks at a whole table, the version of the newest one. #}
SELECT tabela, kind, max(version)
FROM {{ ledger }} AS carga
LEFT JOIN (SELECT tabela, max(version) AS until FROM {{ ledger }} WHERE kind = 'forget' GROUP BY tabela) AS forgotten
    USING (tabela)
WHERE kind IN ('copy', 'keys', 'log') AND version > ifNull(until, 0)
  AND built = {built:Array(UInt64)}[indexOf({rebuilt:Array(String)}, tabela)]
GROUP BY tabela, kind
