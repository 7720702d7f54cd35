-- Sums of the sales in a range of days, from the marts. Each has the columns of its namesake in of_views.sql.
WITH
por_dia AS
(
    SELECT dia, vendas, entregues, valor_total AS valor
    FROM vendas_por_dia
    WHERE dia >= {de:Date32} AND dia <= {ate:Date32}
),
por_cidade AS
(
    SELECT uf, cidade, vendas, valor_total AS valor
    FROM vendas_por_cidade
    WHERE dia >= {de:Date32} AND dia <= {ate:Date32}
),
por_produto AS
(
    SELECT produto_id, produto, quantidade, valor_total AS valor
    FROM produtos_por_dia
    WHERE dia >= {de:Date32} AND dia <= {ate:Date32}
)
