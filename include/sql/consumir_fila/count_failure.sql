INSERT INTO mensagens_falhas (chave, fila, tentativas, motivo, execucao)
VALUES (%(chave)s, %(fila)s, 1, %(motivo)s, %(execucao)s)
ON DUPLICATE KEY UPDATE tentativas = tentativas + 1, motivo = VALUES(motivo)
