{{ config(
    materialized="incremental",
    incremental_strategy="append",
    engine="ReplacingMergeTree(versao, apagada)",
    order_by="item_id",
    post_hook="{{ mark_loads_read() }}",
) }}
{% set all = reads_all() %}
WITH newest AS (
    SELECT
        item_id,
        max(version) AS versao,
        -- One tuple: argMax of a single column passes over NULL.
        argMax(tuple(venda_id, produto_id, valor_unitario, quantidade, valor_total, is_deleted), version) AS linha
    FROM {{ source("bruto", "item_venda") }}
    {% if not all %}
    WHERE item_id IN (SELECT item_id FROM {{ source("bruto", "item_venda") }} WHERE {{ not_read() }})
    {% endif %}
    GROUP BY item_id
)
SELECT
    item_id,
    linha.1 AS venda_id,
    linha.2 AS produto_id,
    linha.3 AS valor_unitario,
    linha.4 AS quantidade,
    linha.5 AS valor_total,
    versao,
    linha.6 AS apagada
FROM newest
{% if all and is_incremental() %}
UNION ALL
SELECT item_id, venda_id, produto_id, valor_unitario, quantidade, valor_total, versao + 1 AS versao, 1 AS apagada
FROM {{ this }} FINAL
WHERE item_id NOT IN (SELECT item_id FROM {{ source("bruto", "item_venda") }})
{% endif %}
