{# For each table and each kind of read that looks at a whole table, the version of the newest one. #}
SELECT tabela, kind, max(version)
FROM {{ ledger }}
WHERE kind IN ('copy', 'keys', 'log') AND {% include 'valid.sql' %}
GROUP BY tabela, kind
