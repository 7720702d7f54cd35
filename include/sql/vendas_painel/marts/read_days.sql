-- Sales, value and delivered sales by day.
SELECT dia, vendas, valor_total AS valor, entregues
FROM vendas_por_dia
WHERE dia >= {de:Date32} AND dia <= {ate:Date32}
ORDER BY dia
