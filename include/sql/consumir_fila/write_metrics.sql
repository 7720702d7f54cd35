INSERT INTO metricas_filas (execucao, fila, total, sucessos, falhas, taxa)
VALUES (%(execucao)s, %(fila)s, %(total)s, %(sucessos)s, %(falhas)s, %(taxa)s)
ON DUPLICATE KEY UPDATE total = VALUES(total), sucessos = VALUES(sucessos), falhas = VALUES(falhas), taxa = VALUES(taxa)
