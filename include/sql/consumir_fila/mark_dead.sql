INSERT INTO mensagens_falhas (chave, fila, motivo, execucao, morta_em)
VALUES (%(chave)s, %(fila)s, %(motivo)s, %(execucao)s, CURRENT_TIMESTAMP(6))
ON DUPLICATE KEY UPDATE motivo = VALUES(motivo), execucao = VALUES(execucao), morta_em = VALUES(morta_em)
