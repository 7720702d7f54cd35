-- Written before the product is reset, because it copies the reason that the reset clears.
INSERT INTO produtos_eventos (pendente_id, etapa, estado, motivo, execucao)
SELECT pendente_id, 'repetir', 'pendente', motivo, %(run)s FROM produtos_pendentes
WHERE estado = 'falhou' AND (%(every)s OR pendente_id IN %(ids)s)
