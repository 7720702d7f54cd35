-- What is covered: windows of whole tables joined where they touch, and windows of key ranges one by one.
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
        FROM vendas_raw.cargas
        WHERE kind = 'window' AND key_from IS NULL AND key_to IS NULL
    )
)
GROUP BY tabela, island
UNION ALL
SELECT DISTINCT tabela, inicio, fim, key_from, key_to
FROM vendas_raw.cargas
WHERE kind = 'window' AND (key_from IS NOT NULL OR key_to IS NOT NULL)
