SELECT sucessos, falhas FROM metricas_contadas WHERE execucao = %(execucao)s AND fila = %(fila)s FOR UPDATE
