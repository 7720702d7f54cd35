UPDATE precos_propostos LEFT JOIN produtos USING (produto_id)
SET situacao = 'conflito',
    motivo = CONCAT('the price was ', preco_antigo, ' when the list was read, and is ', COALESCE(preco, 'no more'))
WHERE lista = %(list)s AND situacao IN ('aplicar', 'aprovar') AND NOT (preco_antigo <=> preco)
