-- Uses only the primary key.
SELECT linha AS k FROM pedidos WHERE linha >= %(low)s ORDER BY linha LIMIT 1 OFFSET %(rows)s
