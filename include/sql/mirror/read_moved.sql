{# What the reads of one plan have moved, over all tries of their tasks. #}
SELECT kind, tabela, inicio, fim, key_from, key_to, version, rows
FROM {{ ledger }}
WHERE plan = {plan:UUID} AND rows > 0 AND kind NOT IN ('refused', 'forget', 'exchanged', 'begin')
