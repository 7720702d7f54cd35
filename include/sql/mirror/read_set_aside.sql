{# Tables that were set aside after their last read, with the reason. #}
SELECT tabela, argMaxIf(reason, started_at, kind = 'refused')
FROM {{ ledger }}
GROUP BY tabela
HAVING maxIf(started_at, kind = 'refused') > maxIf(started_at, kind NOT IN ('refused', 'forget', 'exchanged'))
