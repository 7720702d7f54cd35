-- Sales, value and delivered sales by day.
SELECT dia, vendas, valor, entregues
FROM por_dia
ORDER BY dia
