-- Compared byte by byte, as the warehouse does: the table's collation takes Móveis and moveis for one. Without blanks at
-- the end, which Redshift does not compare, and PostgreSQL does.
SELECT MIN(RTRIM(categoria)) AS categoria, COUNT(*) AS n, SUM(preco) AS preco, SUM(estoque) AS estoque FROM produtos
WHERE produto_id >= %(low)s AND produto_id < %(high)s
GROUP BY BINARY RTRIM(categoria)
