INSERT INTO movimentos (mensagem_id, tipo, acao) VALUES (%(id)s, %(tipo)s, %(acao)s)
