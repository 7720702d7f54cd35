SELECT COUNT(*) AS n FROM produtos_pendentes
WHERE reserva = %(run)s AND estado IN ('pendente', 'processado', 'validado')
