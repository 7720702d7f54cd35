SELECT resumo FROM mensagens WHERE mensagem_id = %(id)s
