-- Sales by the state in which clients live, the highest amount first. Clients without a state have their own line.
SELECT
    cidade.cidade_uf AS uf,
    count() AS vendas,
    sum(venda.valor_total) AS valor_total
FROM vendas_dw.venda AS venda
LEFT JOIN vendas_dw.cliente AS cliente ON cliente.cliente_id = venda.cliente_id
LEFT JOIN vendas_dw.cidade AS cidade ON cidade.cidade_id = cliente.cidade_id
WHERE ({de:Nullable(Date32)} IS NULL OR venda.data >= {de:Nullable(Date32)})
  AND ({ate:Nullable(Date32)} IS NULL OR venda.data <= {ate:Nullable(Date32)})
  AND ({uf:Nullable(String)} IS NULL OR cidade.cidade_uf = {uf:Nullable(String)})
GROUP BY cidade.cidade_uf
ORDER BY valor_total DESC NULLS LAST, uf
LIMIT {limite:UInt32}
