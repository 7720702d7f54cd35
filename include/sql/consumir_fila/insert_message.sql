-- Affects one row when the id is new and none when it is there: no other error is hidden, as IGNORE would.
INSERT INTO mensagens (mensagem_id, fila, tipo, acao, origem, prioridade, criada_em, resumo, execucao)
VALUES (%(id)s, %(fila)s, %(tipo)s, %(acao)s, %(origem)s, %(prioridade)s, %(criada_em)s, %(resumo)s, %(execucao)s)
ON DUPLICATE KEY UPDATE mensagem_id = mensagem_id
