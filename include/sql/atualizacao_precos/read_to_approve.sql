-- A product may have been deleted since: its line still belongs to what a person was asked.
SELECT linha, produto_id, produtos.nome, precos_propostos.preco_antigo, precos_propostos.preco_novo
FROM precos_propostos LEFT JOIN produtos USING (produto_id)
WHERE lista = %(list)s AND situacao = 'aprovar'
ORDER BY linha
