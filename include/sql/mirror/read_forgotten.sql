{# Until when what was read of each table is void. #}
SELECT tabela, max(fim)
FROM {{ ledger }}
WHERE kind = 'forget'
GROUP BY tabela
