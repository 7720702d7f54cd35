SELECT
    item.dia AS dia,
    item.produto_id AS produto_id,
    any(produto.nome) AS produto,
    sum(item.quantidade) AS quantidade,
    uniqExact(item.venda_id) AS vendas,
    sum(item.valor_total) AS valor_total
FROM {{ ref("fato_item_venda") }} AS item
LEFT JOIN {{ ref("dim_produto") }} AS produto ON produto.produto_id = item.produto_id
GROUP BY dia, produto_id
