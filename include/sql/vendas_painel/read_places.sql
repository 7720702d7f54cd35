-- Sales and value by state and city. Sales are added up by client first, then by city, so that no join is larger than the
-- clients.
SELECT ifNull(cidade_uf, '') AS uf, ifNull(cidade_desc, '') AS cidade, sum(vendas) AS vendas, sum(valor) AS valor
FROM
(
    SELECT cidade_id, sum(vendas) AS vendas, sum(valor) AS valor
    FROM
    (
        SELECT cliente_id, count() AS vendas, sum(valor_total) AS valor
        FROM venda
        WHERE data >= {de:Date32} AND data <= {ate:Date32}
        GROUP BY cliente_id
    ) AS por_cliente
    LEFT JOIN (SELECT cliente_id, cidade_id FROM cliente) AS cliente ON cliente.cliente_id = por_cliente.cliente_id
    GROUP BY cidade_id
) AS por_cidade
LEFT JOIN (SELECT cidade_id, cidade_uf, cidade_desc FROM cidade) AS cidade ON cidade.cidade_id = por_cidade.cidade_id
GROUP BY uf, cidade
ORDER BY valor DESC, uf, cidade
