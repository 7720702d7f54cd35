{# The reasons why tables of one plan were set aside, from the latest try. #}
SELECT tabela, argMax(reason, started_at)
FROM {{ ledger }}
WHERE plan = {plan:UUID} AND kind = 'refused'
GROUP BY tabela
