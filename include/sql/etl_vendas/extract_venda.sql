-- Uses venda_updated_at_idx (include/sql/source/create_indexes.sql).
-- Money leaves as a count of centavos: an integer is exact, and several times faster than numeric.
SELECT
    venda_id,
    cliente_id,
    "data",
    entregue,
    (valor_total * 100)::bigint AS valor_total,
    created_at,
    updated_at
FROM public.venda
WHERE {{ changed }}
