{# Tables that became other ones since they were compared with the source as a whole. #}
SELECT tabela
FROM {{ ledger }}
WHERE kind = 'exchanged'
   OR (kind IN ('copy', 'rebuild') AND built = {built:Array(UInt64)}[indexOf({rebuilt:Array(String)}, tabela)])
GROUP BY tabela
HAVING maxIf(version, kind = 'exchanged') > maxIf(version, kind IN ('copy', 'rebuild'))
ORDER BY tabela
