INSERT INTO mensagens_falhas (chave, fila, motivo, execucao, morta_em, mortes)
VALUES (%(chave)s, %(fila)s, %(motivo)s, %(execucao)s, CURRENT_TIMESTAMP(6), 1)
ON DUPLICATE KEY UPDATE
    -- Assignments run from left to right, so this one reads the old values of the row.
    mortes = IF(morta_em IS NOT NULL AND execucao = VALUES(execucao), mortes + 1, 1),
    morta_em = VALUES(morta_em),
    motivo = VALUES(motivo),
    execucao = VALUES(execucao)
