SELECT
    por_cidade.dia AS dia,
    por_cidade.pais AS pais,
    por_cidade.uf AS uf,
    sum(por_cidade.vendas) AS vendas,
    sum(por_cidade.entregues) AS entregues,
    toDecimal64(round(entregues / vendas, 4), 4) AS taxa
FROM {{ ref("vendas_por_cidade") }} AS por_cidade
GROUP BY dia, pais, uf
