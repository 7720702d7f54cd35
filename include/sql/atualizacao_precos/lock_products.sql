SELECT produtos.produto_id FROM produtos JOIN precos_propostos USING (produto_id)
WHERE lista = %(list)s AND situacao IN ('aplicar', 'aprovar')
ORDER BY produtos.produto_id
FOR UPDATE
