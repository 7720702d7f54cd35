-- The day of the newest sale.
SELECT max(dia) FROM por_dia
