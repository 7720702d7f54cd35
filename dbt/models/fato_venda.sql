{{ config(materialized="view") }}
SELECT venda_id, cliente_id, dia, entregue, valor_total
FROM {{ ref("fato_venda_versoes") }} FINAL
