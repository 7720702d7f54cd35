-- Sums of the sales in a range of days, from the mirror's views. Each has the columns of its namesake in of_marts.sql.
WITH
por_dia AS
(
    SELECT data AS dia, count() AS vendas, countIf(entregue = 'S') AS entregues, sum(valor_total) AS valor
    FROM venda
    WHERE data >= {de:Date32} AND data <= {ate:Date32}
    GROUP BY dia
),
-- Sales are added up by client first, then by city, so that no join is larger than the clients.
por_cidade AS
(
    SELECT cidade_uf AS uf, cidade_desc AS cidade, vendas, valor
    FROM
    (
        SELECT cidade_id, sum(vendas) AS vendas, sum(valor) AS valor
        FROM
        (
            SELECT cliente_id, count() AS vendas, sum(valor_total) AS valor
            FROM venda
            WHERE data >= {de:Date32} AND data <= {ate:Date32}
            GROUP BY cliente_id
        ) AS por_cliente
        LEFT JOIN (SELECT cliente_id, cidade_id FROM cliente) AS cliente ON cliente.cliente_id = por_cliente.cliente_id
        GROUP BY cidade_id
    ) AS por_cidade_id
    LEFT JOIN (SELECT cidade_id, cidade_uf, cidade_desc FROM cidade) AS cidade ON cidade.cidade_id = por_cidade_id.cidade_id
),
-- Items are added up by product first. A bitmap holds the sales' ids, because it is made three times as fast as the set of
-- an IN.
por_produto AS
(
    WITH
    (
        SELECT groupBitmapState(toInt64(venda_id)) FROM venda WHERE data >= {de:Date32} AND data <= {ate:Date32}
    ) AS vendidas
    SELECT por_produto_id.produto_id AS produto_id, nome AS produto, quantidade, valor
    FROM
    (
        SELECT produto_id, sum(quantidade) AS quantidade, sum(valor_total) AS valor
        FROM item_venda
        WHERE bitmapContains(vendidas, toInt64(venda_id))
        GROUP BY produto_id
    ) AS por_produto_id
    LEFT JOIN (SELECT produto_id, nome FROM produto) AS produto ON produto.produto_id = por_produto_id.produto_id
)
