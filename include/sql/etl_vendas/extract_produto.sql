-- Uses produto_updated_at_idx (include/sql/source/create_indexes.sql).
-- Money leaves as a count of centavos: an integer is exact, and several times faster than numeric.
SELECT
    produto_id,
    nome,
    descricao,
    (preco_base * 100)::bigint AS preco_base,
    ativo,
    created_at,
    updated_at
FROM public.produto
WHERE {{ changed }}
