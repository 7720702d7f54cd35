-- The products that sold most, by value.
SELECT ifNull(any(produto), '') AS nome, sum(quantidade) AS pecas, sum(valor) AS vendido
FROM por_produto
GROUP BY produto_id
ORDER BY vendido DESC, produto_id
LIMIT {count:UInt32}
