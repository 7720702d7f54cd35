SELECT
    venda.dia AS dia,
    cliente.pais AS pais,
    cliente.uf AS uf,
    cliente.cidade AS cidade,
    count() AS vendas,
    countIf(venda.entregue = 'S') AS entregues,
    sum(venda.valor_total) AS valor_total
FROM {{ ref("fato_venda") }} AS venda
LEFT JOIN {{ ref("dim_cliente") }} AS cliente ON cliente.cliente_id = venda.cliente_id
GROUP BY dia, pais, uf, cidade
