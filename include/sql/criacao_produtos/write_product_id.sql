UPDATE produtos_pendentes SET produto_id = %(key)s WHERE pendente_id = %(id)s
