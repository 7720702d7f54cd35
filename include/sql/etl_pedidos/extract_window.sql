-- By por_atualizacao.
SELECT linha, pedido_id, cliente_id, data, valor_total, status, atualizado_em FROM pedidos
WHERE atualizado_em >= %(low)s AND atualizado_em < %(high)s
