SELECT
    venda.dia AS dia,
    cliente.pais AS pais,
    cliente.uf AS uf,
    count() AS vendas,
    countIf(venda.entregue = 'S') AS entregues,
    toDecimal64(round(entregues / vendas, 4), 4) AS taxa
FROM {{ ref("fato_venda") }} AS venda
LEFT JOIN {{ ref("dim_cliente") }} AS cliente ON cliente.cliente_id = venda.cliente_id
GROUP BY dia, pais, uf
