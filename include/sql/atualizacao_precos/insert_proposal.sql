INSERT INTO precos_propostos (lista, linha, produto_id, preco_antigo, preco_novo, situacao, motivo)
VALUES (%(list)s, %(number)s, %(product)s, %(old)s, %(new)s, %(decision)s, %(reason)s)
