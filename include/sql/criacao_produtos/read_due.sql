-- By por_estado. What another run still claims is taken over: it died, or will find its claim gone.
SELECT pendente_id FROM produtos_pendentes
WHERE estado IN ('pendente', 'processado', 'validado') AND (proxima_em <= CURRENT_TIMESTAMP(6) OR reserva = %(run)s)
ORDER BY pendente_id
LIMIT %(limit)s
FOR UPDATE SKIP LOCKED
