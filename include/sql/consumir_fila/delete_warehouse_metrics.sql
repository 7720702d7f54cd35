DELETE FROM metricas_filas WHERE execucao = %s
