UPDATE mensagens_falhas SET entregas = entregas - 1 WHERE chave = %(chave)s AND fila = %(fila)s AND entregas > 0
