-- All days with sales, the oldest first. The filters are a range of days and the state in which the client lives.
SELECT
    venda.data AS data,
    count() AS vendas,
    sum(venda.valor_total) AS valor_total
FROM vendas_dw.venda AS venda
LEFT JOIN vendas_dw.cliente AS cliente ON cliente.cliente_id = venda.cliente_id
LEFT JOIN vendas_dw.cidade AS cidade ON cidade.cidade_id = cliente.cidade_id
WHERE ({de:Nullable(Date32)} IS NULL OR venda.data >= {de:Nullable(Date32)})
  AND ({ate:Nullable(Date32)} IS NULL OR venda.data <= {ate:Nullable(Date32)})
  AND ({uf:Nullable(String)} IS NULL OR cidade.cidade_uf = {uf:Nullable(String)})
GROUP BY venda.data
ORDER BY venda.data NULLS LAST
LIMIT {limite:UInt32}
