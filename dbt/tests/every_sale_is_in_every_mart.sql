-- Each sale is counted once, in each mart that counts sales. Returns the marts that differ.
SELECT mart, vendas, (SELECT count() FROM {{ ref("fato_venda") }}) AS expected
FROM (
    SELECT 'vendas_por_dia' AS mart, sum(vendas) AS vendas FROM {{ ref("vendas_por_dia") }}
    UNION ALL
    SELECT 'vendas_por_cidade', sum(vendas) FROM {{ ref("vendas_por_cidade") }}
    UNION ALL
    SELECT 'taxa_de_entrega', sum(vendas) FROM {{ ref("taxa_de_entrega") }}
)
WHERE vendas != expected
