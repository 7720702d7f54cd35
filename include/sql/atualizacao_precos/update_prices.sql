UPDATE produtos JOIN precos_propostos USING (produto_id)
SET produtos.preco = precos_propostos.preco_novo
WHERE lista = %(list)s AND situacao IN ('aplicar', 'aprovar')
