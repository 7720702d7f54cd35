UPDATE produtos_pendentes SET reserva = %(run)s WHERE pendente_id IN %(ids)s
