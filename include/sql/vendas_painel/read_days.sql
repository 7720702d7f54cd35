-- Sales, value and delivered sales by day. Reads three columns of `venda`.
SELECT data AS dia, count() AS vendas, sum(valor_total) AS valor, countIf(entregue = 'S') AS entregues
FROM venda
WHERE data >= {de:Date32} AND data <= {ate:Date32}
GROUP BY dia
ORDER BY dia
