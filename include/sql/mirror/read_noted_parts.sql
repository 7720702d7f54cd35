{# For each table, the parts that were noted when rows of it were last published. #}
SELECT tabela, argMax(parts, version)
FROM {{ ledger }}
WHERE notEmpty(parts) AND {% include 'valid.sql' %}
GROUP BY tabela
