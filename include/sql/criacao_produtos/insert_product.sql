INSERT INTO produtos (nome, categoria, preco, estoque) VALUES (%(nome)s, %(categoria)s, %(preco)s, %(estoque)s)
