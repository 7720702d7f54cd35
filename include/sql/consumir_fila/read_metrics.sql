-- By the indexes por_execucao.
SELECT
    (SELECT COUNT(*) FROM mensagens WHERE execucao = %(execucao)s AND fila = %(fila)s) AS sucessos,
    (SELECT COUNT(*) FROM mensagens_falhas
     WHERE execucao = %(execucao)s AND fila = %(fila)s AND morta_em IS NOT NULL) AS falhas
