-- Uses item_venda_updated_at_idx (include/sql/source/create_indexes.sql).
-- Money leaves as a count of centavos: an integer is exact, and several times faster than numeric.
SELECT
    item_id,
    venda_id,
    produto_id,
    (valor_unitario * 100)::bigint AS valor_unitario,
    quantidade,
    (valor_total * 100)::bigint AS valor_total,
    created_at,
    updated_at
FROM public.item_venda
WHERE {{ changed }}
