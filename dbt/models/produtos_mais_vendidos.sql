-- A sale has one day, so the sales of a month are those of its days.
SELECT
    mes,
    row_number() OVER (PARTITION BY mes ORDER BY quantidade DESC NULLS LAST, produto_id) AS posicao,
    produto_id,
    produto,
    quantidade,
    vendas,
    valor_total
FROM (
    SELECT
        toStartOfMonth(por_dia.dia) AS mes,
        por_dia.produto_id AS produto_id,
        any(por_dia.produto) AS produto,
        sum(por_dia.quantidade) AS quantidade,
        sum(por_dia.vendas) AS vendas,
        sum(por_dia.valor_total) AS valor_total
    FROM {{ ref("produtos_por_dia") }} AS por_dia
    GROUP BY mes, produto_id
)
