-- Uses the indexes por_atualizacao and por_pedido. With each changed line, all other lines of its order are read: if the
-- newest line is not a valid order any more, an older one counts again.
SELECT linha, pedido_id, cliente_id, data, valor_total, status, atualizado_em FROM pedidos
WHERE atualizado_em < %(high)s AND pedido_id IN (
    SELECT pedido_id FROM pedidos WHERE atualizado_em >= %(low)s AND atualizado_em < %(high)s
)
