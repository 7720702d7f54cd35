SELECT chave, tentativas, entregas, morta_em FROM mensagens_falhas WHERE fila = %(fila)s AND chave IN %(chaves)s
