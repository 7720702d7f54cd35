SELECT pendente_id, produto_id, nome, categoria, preco, estoque, estado, tentativas
FROM produtos_pendentes
WHERE pendente_id = %(id)s AND reserva = %(run)s AND estado IN ('pendente', 'processado', 'validado')
FOR UPDATE SKIP LOCKED
