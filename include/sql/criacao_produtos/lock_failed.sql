-- Products that this run has already reset count as failed, because a retry of the run asks for them again.
SELECT pendente_id FROM produtos_pendentes
WHERE pendente_id IN %(ids)s AND (
    estado = 'falhou' OR pendente_id IN (
        SELECT pendente_id FROM produtos_eventos WHERE execucao = %(run)s AND etapa = 'repetir'
    )
)
FOR UPDATE
