{# Why tables of one planning were set aside, as the latest try says. #}
SELECT tabela, argMax(reason, started_at)
FROM {{ ledger }}
WHERE plan = {plan:UUID} AND kind = 'refused'
GROUP BY tabela
