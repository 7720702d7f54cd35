-- Uses the primary key, so that sorting costs nothing.
SELECT produto_id, nome, categoria, preco, estoque FROM produtos
WHERE produto_id >= %(low)s AND produto_id < %(high)s
ORDER BY produto_id
