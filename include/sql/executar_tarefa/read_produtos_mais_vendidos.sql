-- Products by the number of pieces sold. Two products may have the same name, so the key is shown too.
SELECT
    item.produto_id AS produto_id,
    any(produto.nome) AS produto,
    sum(item.quantidade) AS quantidade,
    sum(item.valor_total) AS valor_total
FROM vendas_dw.item_venda AS item
INNER JOIN vendas_dw.venda AS venda ON venda.venda_id = item.venda_id
LEFT JOIN vendas_dw.produto AS produto ON produto.produto_id = item.produto_id
LEFT JOIN vendas_dw.cliente AS cliente ON cliente.cliente_id = venda.cliente_id
LEFT JOIN vendas_dw.cidade AS cidade ON cidade.cidade_id = cliente.cidade_id
WHERE ({de:Nullable(Date32)} IS NULL OR venda.data >= {de:Nullable(Date32)})
  AND ({ate:Nullable(Date32)} IS NULL OR venda.data <= {ate:Nullable(Date32)})
  AND ({uf:Nullable(String)} IS NULL OR cidade.cidade_uf = {uf:Nullable(String)})
GROUP BY item.produto_id
ORDER BY quantidade DESC NULLS LAST, produto_id
LIMIT {limite:UInt32}
