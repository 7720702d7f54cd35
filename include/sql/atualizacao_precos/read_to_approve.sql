SELECT precos_propostos.produto_id, produtos.nome, precos_propostos.preco_antigo, precos_propostos.preco_novo
FROM precos_propostos JOIN produtos USING (produto_id)
WHERE lista = %(list)s AND situacao = 'aprovar'
ORDER BY linha
