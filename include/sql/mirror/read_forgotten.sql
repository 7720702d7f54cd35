{# For each table, the moment of its last `forget`: reads of snapshots before it do not count. #}
SELECT tabela, max(fim)
FROM {{ ledger }}
WHERE kind = 'forget'
GROUP BY tabela
