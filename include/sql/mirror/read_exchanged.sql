{# Tables that became other ones since they were compared with the source as a whole. #}
SELECT tabela
FROM {{ ledger }}
WHERE kind IN ('exchanged', 'copy')
GROUP BY tabela
HAVING maxIf(version, kind = 'exchanged') > maxIf(version, kind = 'copy')
ORDER BY tabela
