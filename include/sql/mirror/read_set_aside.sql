{# Tables that were set aside after anything was read of them for the last time, and why. #}
SELECT tabela, argMaxIf(reason, started_at, kind = 'refused')
FROM {{ ledger }}
GROUP BY tabela
HAVING maxIf(started_at, kind = 'refused') > maxIf(started_at, kind NOT IN ('refused', 'forget', 'exchanged'))
