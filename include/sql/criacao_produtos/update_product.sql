UPDATE produtos SET nome = %(nome)s, categoria = %(categoria)s, preco = %(preco)s, estoque = %(estoque)s
WHERE produto_id = %(produto_id)s
