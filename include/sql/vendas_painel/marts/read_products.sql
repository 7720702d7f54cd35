-- The products that sold most, by value.
SELECT ifNull(any(mart.produto), '') AS produto, sum(mart.quantidade) AS quantidade, sum(mart.valor_total) AS valor
FROM produtos_por_dia AS mart
WHERE mart.dia >= {de:Date32} AND mart.dia <= {ate:Date32}
GROUP BY mart.produto_id
ORDER BY valor DESC, mart.produto_id
LIMIT {count:UInt32}
