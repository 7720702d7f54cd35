{# The covered windows: adjacent windows over all keys are joined; windows of key ranges are returned one by one. Here and in
   the other queries, a ledger row counts only if the table that has the name now was rebuilt from the same snapshot
   (0: never rebuilt). #}
WITH valid AS
(
    SELECT tabela, inicio, fim, key_from, key_to
    FROM {{ ledger }}
    WHERE kind = 'window' AND {% include 'valid.sql' %}
)
SELECT tabela, min(inicio), max(fim), NULL AS key_from, NULL AS key_to
FROM
(
    SELECT tabela, inicio, fim, sum(starts) OVER (PARTITION BY tabela ORDER BY inicio, fim) AS island
    FROM
    (
        SELECT
            tabela, inicio, fim,
            inicio > max(fim) OVER (
                PARTITION BY tabela ORDER BY inicio, fim ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ) AS starts
        FROM valid
        WHERE key_from IS NULL AND key_to IS NULL
    )
)
GROUP BY tabela, island
UNION ALL
SELECT DISTINCT tabela, inicio, fim, key_from, key_to
FROM valid
WHERE key_from IS NOT NULL OR key_to IS NOT NULL
