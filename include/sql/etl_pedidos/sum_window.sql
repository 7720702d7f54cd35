SELECT COUNT(*) AS n, COALESCE(SUM(linha), 0) AS k, COALESCE(SUM(valor_total), 0) AS m,
    COALESCE(SUM(valor_total * MOD(linha, 1009)), 0) AS w
FROM pedidos
WHERE atualizado_em < %(high)s AND pedido_id IN (
    SELECT pedido_id FROM pedidos WHERE atualizado_em >= %(low)s AND atualizado_em < %(high)s
)
