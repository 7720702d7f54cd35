-- Categories are compared byte by byte, as in the warehouse: in the table's collation, Móveis and moveis are equal. Blanks at
-- the end are removed, because PostgreSQL compares them and Redshift does not.
SELECT MIN(RTRIM(categoria)) AS categoria, COUNT(*) AS n, SUM(preco) AS preco, SUM(estoque) AS estoque FROM produtos
WHERE produto_id >= %(low)s AND produto_id < %(high)s
GROUP BY BINARY RTRIM(categoria)
