-- Uses the indexes por_execucao.
SELECT
    (SELECT COUNT(*) FROM mensagens WHERE execucao = %(execucao)s AND fila = %(fila)s) AS sucessos,
    (SELECT CAST(COALESCE(SUM(mortes), 0) AS UNSIGNED) FROM mensagens_falhas
     WHERE execucao = %(execucao)s AND fila = %(fila)s) AS falhas
