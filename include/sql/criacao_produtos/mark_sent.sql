UPDATE avisos SET enviado_em = CURRENT_TIMESTAMP(6) WHERE aviso_id IN %(ids)s
