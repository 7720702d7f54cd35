SELECT pendente_id, etapa, estado, motivo FROM produtos_eventos
WHERE execucao = %(run)s AND motivo IS NOT NULL AND etapa <> 'repetir'
ORDER BY evento_id
