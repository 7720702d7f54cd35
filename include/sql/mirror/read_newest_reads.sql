{# Of one table, the newest snapshot of each kind of read that looks at the whole table. #}
SELECT kind, max(version)
FROM {{ ledger }} AS carga
LEFT JOIN (SELECT tabela, max(version) AS until FROM {{ ledger }} WHERE kind = 'forget' GROUP BY tabela) AS forgotten
    USING (tabela)
WHERE tabela = {tabela:String} AND kind IN ('copy', 'keys') AND version > ifNull(until, 0)
  AND built = {built:Array(UInt64)}[indexOf({rebuilt:Array(String)}, tabela)]
GROUP BY kind
