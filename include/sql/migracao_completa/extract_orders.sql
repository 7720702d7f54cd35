SELECT linha, pedido_id, cliente_id, data, valor_total, status, atualizado_em FROM pedidos
WHERE linha >= %(low)s AND linha < %(high)s
ORDER BY linha
