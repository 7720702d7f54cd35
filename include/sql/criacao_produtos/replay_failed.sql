-- The event first: it takes the reason along that is then cleared.
INSERT INTO produtos_eventos (pendente_id, etapa, estado, motivo, execucao)
SELECT pendente_id, 'repetir', 'pendente', motivo, %(run)s FROM produtos_pendentes
WHERE estado = 'falhou' AND (%(every)s OR pendente_id IN %(ids)s)
