-- Uses the index por_estado. Products that another run still claims are taken over: that run has died, or will notice that
-- its claim is gone.
SELECT pendente_id FROM produtos_pendentes
WHERE estado IN ('pendente', 'processado', 'validado') AND (proxima_em <= CURRENT_TIMESTAMP(6) OR reserva = %(run)s)
ORDER BY pendente_id
LIMIT %(limit)s
FOR UPDATE SKIP LOCKED
