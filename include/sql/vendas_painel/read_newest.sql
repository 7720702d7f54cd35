-- The day of the newest sale.
SELECT max(data) FROM venda
