-- Sales and value by state and city.
SELECT ifNull(uf, '') AS estado, ifNull(cidade, '') AS nome, sum(vendas) AS vendidas, sum(valor) AS vendido
FROM por_cidade
GROUP BY estado, nome
ORDER BY vendido DESC, estado, nome
