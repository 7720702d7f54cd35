DELETE FROM mensagens_falhas WHERE chave = %(chave)s AND fila = %(fila)s
