SELECT COUNT(*) AS n, COALESCE(SUM(produto_id), 0) AS k, COALESCE(SUM(preco * estoque), 0) AS m,
    COALESCE(SUM(preco * estoque * MOD(produto_id, 1009)), 0) AS w
FROM produtos
WHERE produto_id >= %(low)s AND produto_id < %(high)s
