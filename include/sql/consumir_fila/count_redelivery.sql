INSERT INTO mensagens_falhas (chave, fila, entregas, execucao)
VALUES (%(chave)s, %(fila)s, 1, %(execucao)s)
ON DUPLICATE KEY UPDATE entregas = entregas + 1
