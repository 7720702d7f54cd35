UPDATE produtos_pendentes
SET estado = 'pendente', tentativas = 0, motivo = NULL, reserva = NULL, proxima_em = CURRENT_TIMESTAMP(6)
WHERE estado = 'falhou' AND (%(every)s OR pendente_id IN %(ids)s)
