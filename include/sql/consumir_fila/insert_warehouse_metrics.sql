INSERT INTO metricas_filas (execucao, fila, total, sucessos, falhas, taxa, em)
VALUES (%s, %s, %s, %s, %s, %s, CURRENT_TIMESTAMP)
