-- By por_atualizacao and por_pedido: with each line that was changed all others of its order. Where the newest is no order
-- any more, an older one counts again.
SELECT linha, pedido_id, cliente_id, data, valor_total, status, atualizado_em FROM pedidos
WHERE atualizado_em < %(high)s AND pedido_id IN (
    SELECT pedido_id FROM pedidos WHERE atualizado_em >= %(low)s AND atualizado_em < %(high)s
)
