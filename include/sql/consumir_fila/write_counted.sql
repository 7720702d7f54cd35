UPDATE metricas_contadas SET sucessos = %(sucessos)s, falhas = %(falhas)s
WHERE execucao = %(execucao)s AND fila = %(fila)s
