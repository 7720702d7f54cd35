INSERT INTO precos_historico (produto_id, preco_antigo, preco_novo, lista, aprovado_por)
SELECT produto_id, preco_antigo, preco_novo, lista, IF(situacao = 'aprovar', %(by)s, NULL)
FROM precos_propostos
WHERE lista = %(list)s AND situacao IN ('aplicar', 'aprovar')
