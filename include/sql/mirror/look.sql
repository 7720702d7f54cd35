{# Which source it is and its clock, in each row; then per table with windows, by the index on its change column: the oldest
   and the newest value, how many rows no window can match, with the keys of some, and if asked for, how many rows it has and
   whether one of them is later than a moment. #}
WITH here AS MATERIALIZED (SELECT {{ identity }}, clock_timestamp())
SELECT here.*, found.*
FROM here
LEFT JOIN
(
{% for table in tables %}
SELECT
    {{ table.number }} AS number,
    (SELECT min({{ table.column }})::timestamptz FROM {{ table.relation }}
     WHERE {{ table.column }} >= '1900-01-01{{ table.zone }}' AND {{ table.column }} < '2300-01-01{{ table.zone }}'),
    (SELECT max({{ table.column }})::timestamptz FROM {{ table.relation }}
     WHERE {{ table.column }} >= '1900-01-01{{ table.zone }}' AND {{ table.column }} < '2300-01-01{{ table.zone }}'),
    bad.rows,
    bad.keys,
    {{ "(SELECT count(*) FROM " ~ table.relation ~ ")" if table.count else "NULL::bigint" }},
    {{ "EXISTS (SELECT FROM " ~ table.relation ~ " WHERE " ~ table.column ~ " >= " ~ table.later ~ ")" if table.later else "FALSE" }}
FROM (
    SELECT count(*) AS rows, (array_agg({{ table.key }} ORDER BY {{ table.order }}))[1:{{ table.named }}] AS keys
    FROM {{ table.relation }}
    WHERE {{ table.column }} IS NULL OR {{ table.column }} < '1900-01-01{{ table.zone }}'
       OR {{ table.column }} >= '2300-01-01{{ table.zone }}'
) AS bad
{{ "UNION ALL" if not loop.last }}
{% else %}
SELECT NULL::int, NULL::timestamptz, NULL::timestamptz, NULL::bigint, NULL::text[], NULL::bigint, FALSE
{% endfor %}
) AS found ON TRUE
