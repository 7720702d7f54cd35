{# Tables that were exchanged since their last copy or rebuild. #}
SELECT tabela
FROM {{ ledger }}
WHERE kind = 'exchanged'
   OR (kind IN ('copy', 'rebuild') AND built = {built:Array(UInt64)}[indexOf({rebuilt:Array(String)}, tabela)])
GROUP BY tabela
HAVING maxIf(version, kind = 'exchanged') > maxIf(version, kind IN ('copy', 'rebuild'))
ORDER BY tabela
