-- Affects one row if the id is new, and none if it exists. INSERT IGNORE would also hide other errors.
INSERT INTO mensagens (mensagem_id, fila, tipo, acao, origem, prioridade, criada_em, resumo, execucao)
VALUES (%(id)s, %(fila)s, %(tipo)s, %(acao)s, %(origem)s, %(prioridade)s, %(criada_em)s, %(resumo)s, %(execucao)s)
ON DUPLICATE KEY UPDATE mensagem_id = mensagem_id
