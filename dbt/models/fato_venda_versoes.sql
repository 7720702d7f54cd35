{{ config(
    materialized="incremental",
    incremental_strategy="append",
    engine="ReplacingMergeTree(versao, apagada)",
    order_by="venda_id",
    post_hook="{{ mark_loads_read() }}",
) }}
{% set all = reads_all() %}
WITH newest AS (
    SELECT
        venda_id,
        max(version) AS versao,
        -- One tuple: argMax of a single column passes over NULL.
        argMax(tuple(cliente_id, data, entregue, valor_total, is_deleted), version) AS linha
    FROM {{ source("bruto", "venda") }}
    {% if not all %}
    WHERE venda_id IN (SELECT venda_id FROM {{ source("bruto", "venda") }} WHERE {{ not_read() }})
    {% endif %}
    GROUP BY venda_id
)
SELECT
    venda_id,
    linha.1 AS cliente_id,
    linha.2 AS dia,
    linha.3 AS entregue,
    linha.4 AS valor_total,
    versao,
    linha.5 AS apagada
FROM newest
{% if all and is_incremental() %}
UNION ALL
SELECT venda_id, cliente_id, dia, entregue, valor_total, versao + 1 AS versao, 1 AS apagada
FROM {{ this }} FINAL
WHERE venda_id NOT IN (SELECT venda_id FROM {{ source("bruto", "venda") }})
{% endif %}
