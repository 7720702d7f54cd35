-- Sales number %(first)s to %(last)s of %(sales)s, and their items, in one statement.
-- pg_temp.pick(seed, purpose, n, size) is a number from 0 to size - 1 that depends only on its arguments.
WITH sale AS MATERIALIZED (
    SELECT
        nextval((SELECT pg_get_serial_sequence('venda', 'venda_id')::regclass))::integer AS venda_id,
        n,
        (%(clients)s::integer[])[1 + pg_temp.pick(%(seed)s, 1, n, cardinality(%(clients)s::integer[]))] AS cliente_id,
        %(until)s::timestamp - %(days)s * interval '1 day' * (1 - (n - 1) / %(sales)s::float8) AS created_at,
        interval '1 hour' + pg_temp.pick(%(seed)s, 2, n, 3 * 86400) * interval '1 second' AS delivery_time,
        1 + pg_temp.pick(%(seed)s, 3, n, 8) AS items
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n
),

-- Arrays, not a join with `produto`: with a join, the order of the items, and so their ids, could change each time.
chosen AS MATERIALIZED (
    SELECT
        venda_id,
        created_at,
        1 + pg_temp.pick(%(seed)s, 4, n * 8 + k, cardinality(%(products)s::integer[])) AS product,
        1 + pg_temp.pick(%(seed)s, 5, n * 8 + k, 5) AS quantidade
    FROM sale CROSS JOIN LATERAL generate_series(1, sale.items) AS k
),

item AS MATERIALIZED (
    SELECT
        venda_id,
        created_at,
        (%(products)s::integer[])[product] AS produto_id,
        (%(cents)s::bigint[])[product] * 0.01 AS valor_unitario,
        quantidade,
        (%(cents)s::bigint[])[product] * quantidade * 0.01 AS valor_total
    FROM chosen
),

written AS (
    INSERT INTO venda (venda_id, cliente_id, data, entregue, valor_total, created_at, updated_at)
    SELECT
        venda_id,
        cliente_id,
        created_at::date,
        CASE WHEN created_at + delivery_time <= %(until)s::timestamp THEN 'S' ELSE 'N' END,
        total.valor_total,
        created_at,
        CASE WHEN created_at + delivery_time <= %(until)s::timestamp THEN created_at + delivery_time ELSE created_at END
    FROM sale
    JOIN (SELECT venda_id, sum(valor_total) AS valor_total FROM item GROUP BY venda_id) AS total USING (venda_id)
    ORDER BY venda_id
)

INSERT INTO item_venda (venda_id, produto_id, valor_unitario, quantidade, valor_total, created_at, updated_at)
SELECT venda_id, produto_id, valor_unitario, quantidade, valor_total, created_at, created_at
FROM item
