INSERT INTO mensagens_falhas (chave, fila, motivo, execucao, morta_em, mortes)
VALUES (%(chave)s, %(fila)s, %(motivo)s, %(execucao)s, CURRENT_TIMESTAMP(6), 1)
ON DUPLICATE KEY UPDATE
    -- From left to right: this reads the row as it was.
    mortes = IF(morta_em IS NOT NULL AND execucao = VALUES(execucao), mortes + 1, 1),
    morta_em = VALUES(morta_em),
    motivo = VALUES(motivo),
    execucao = VALUES(execucao)
