SELECT DISTINCT kind, tabela, inicio, fim, key_from, key_to, version
FROM {{ ledger }}
WHERE plan = {plan:UUID} AND kind NOT IN ('refused', 'forget', 'exchanged', 'begin')
