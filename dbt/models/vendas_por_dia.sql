SELECT
    dia,
    count() AS vendas,
    uniqExact(cliente_id) AS clientes,
    countIf(entregue = 'S') AS entregues,
    sum(valor_total) AS valor_total
FROM {{ ref("fato_venda") }}
GROUP BY dia
