-- Uses pais_updated_at_idx (include/sql/source/create_indexes.sql).
SELECT
    pais_id,
    pais,
    created_at,
    updated_at
FROM public.pais
WHERE {{ changed }}
