UPDATE produtos_pendentes
SET estado = %(state)s, tentativas = %(attempts)s, motivo = %(reason)s, reserva = %(run)s,
    proxima_em = CURRENT_TIMESTAMP(6) + INTERVAL %(delay)s SECOND
WHERE pendente_id = %(id)s
