SELECT aviso_id, acao, criado_em FROM avisos WHERE enviado_em IS NULL ORDER BY aviso_id LIMIT %(limit)s
