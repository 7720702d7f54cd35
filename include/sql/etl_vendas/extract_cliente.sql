-- Uses cliente_updated_at_idx (include/sql/source/create_indexes.sql).
SELECT
    cliente_id,
    nome,
    data_nasc,
    data_cad,
    cpf,
    cidade_id,
    created_at,
    updated_at
FROM public.cliente
WHERE {{ changed }}
