-- Sales and value by state and city.
SELECT ifNull(mart.uf, '') AS uf, ifNull(mart.cidade, '') AS cidade, sum(mart.vendas) AS vendas, sum(mart.valor_total) AS valor
FROM vendas_por_cidade AS mart
WHERE mart.dia >= {de:Date32} AND mart.dia <= {ate:Date32}
GROUP BY uf, cidade
ORDER BY valor DESC, uf, cidade
