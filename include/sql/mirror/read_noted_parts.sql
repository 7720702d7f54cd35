{# For each table, the parts that were noted when rows of it were last published. #}
SELECT tabela, argMax(parts, version)
FROM {{ ledger }} AS carga
LEFT JOIN (SELECT tabela, max(version) AS until FROM {{ ledger }} WHERE kind = 'forget' GROUP BY tabela) AS forgotten
    USING (tabela)
WHERE notEmpty(parts) AND version > ifNull(until, 0)
  AND built = {built:Array(UInt64)}[indexOf({rebuilt:Array(String)}, tabela)]
GROUP BY tabela
