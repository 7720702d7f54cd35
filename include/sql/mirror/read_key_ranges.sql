{# The lowest and highest value of integer keys, a row per table that `number` tells apart. Each is the first entry of
   the key's own unique index, from one end or the other. Where nobody ever counted the rows, also about how many there
   are: as many as if they were as far apart as the first or the last thousand of them, whichever are farther. #}
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
