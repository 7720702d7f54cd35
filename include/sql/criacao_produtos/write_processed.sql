UPDATE produtos_pendentes SET nome = %(nome)s, categoria = %(categoria)s, preco = %(preco)s WHERE pendente_id = %(id)s
