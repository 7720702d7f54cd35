-- Uses cidade_updated_at_idx (include/sql/source/create_indexes.sql).
SELECT
    cidade_id,
    cidade_desc,
    cidade_uf,
    pais_id,
    created_at,
    updated_at
FROM public.cidade
WHERE {{ changed }}
