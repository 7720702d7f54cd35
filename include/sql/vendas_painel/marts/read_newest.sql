-- The day of the newest sale.
SELECT max(dia) FROM vendas_por_dia
