{#
  A fact's table: the newest version of each row of the mirror's table, as `table_of` names it.

  `key` is the column that identifies a row. `columns` are the others, each as a name or as "name AS other name". The table
  also has `versao`, the version that the mirror gave the row, and `apagada`, 1 for a row that was deleted.
#}
{% macro versions(key, columns) %}
{{ config(
    materialized="incremental",
    incremental_strategy="append",
    engine="ReplacingMergeTree(versao, apagada)",
    order_by=key,
    post_hook="{{ mark_loads_read() }}",
) }}
{% set stored = source("bruto", table_of(this.identifier)) %}
{% set all = reads_all() %}
{% set read, named = [], [] %}
{% for column in columns %}
  {% do read.append(column.split(" AS ") | first) %}
  {% do named.append(column.split(" AS ") | last) %}
{% endfor %}
WITH newest AS (
    SELECT
        {{ key }},
        max(version) AS versao,
        -- One tuple: argMax of a single column passes over NULL.
        argMax(tuple({{ read | join(", ") }}, is_deleted), version) AS linha
    FROM {{ stored }}
    {% if not all %}
    WHERE {{ key }} IN (SELECT {{ key }} FROM {{ stored }} WHERE {{ not_read() }})
    {% endif %}
    GROUP BY {{ key }}
)
SELECT
    {{ key }},
    {% for name in named %}
    linha.{{ loop.index }} AS {{ name }},
    {% endfor %}
    versao,
    linha.{{ named | length + 1 }} AS apagada
FROM newest
{% if all and is_incremental() %}
UNION ALL
SELECT {{ key }}, {{ named | join(", ") }}, versao + 1 AS versao, 1 AS apagada
FROM {{ this }} FINAL
WHERE {{ key }} NOT IN (SELECT {{ key }} FROM {{ stored }})
{% endif %}
{% endmacro %}
