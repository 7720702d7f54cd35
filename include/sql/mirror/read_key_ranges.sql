{# The lowest and highest value of integer keys: one row for each table, identified by `number`. Both are read from the ends
   of the key's unique index. If a table's rows were never counted, their number is estimated: the range divided by the mean
   distance of the first or the last thousand keys, whichever is larger. #}
{% macro distance(table, direction) %}
(
            SELECT (max(key)::numeric - min(key)) / nullif(count(*) - 1, 0)
            FROM (SELECT {{ table.key }} AS key FROM {{ table.relation }} ORDER BY {{ table.key }} {{ direction }} LIMIT 1000) AS found
        )
{%- endmacro %}
{% for table in tables %}
SELECT
    {{ loop.index0 }} AS number,
    lowest,
    highest,
{% if table.counted %}
    NULL::bigint AS rows
{% else %}
    ((highest::numeric - lowest) / greatest({{ distance(table, "ASC") }}, {{ distance(table, "DESC") }}))::bigint + 1 AS rows
{% endif %}
FROM (SELECT min({{ table.key }})::bigint AS lowest, max({{ table.key }})::bigint AS highest FROM {{ table.relation }}) AS ends
{{ "UNION ALL" if not loop.last }}
{% endfor %}
