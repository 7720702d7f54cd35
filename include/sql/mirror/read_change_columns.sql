{# For each table with windows: the oldest value of its change column, and the number of rows that no window can find, with
   some of their keys. Uses the index on the change column. #}
{% for table in tables %}
SELECT
    {{ table.number }},
    (SELECT min({{ table.column }})::timestamptz FROM {{ table.relation }}
     WHERE {{ table.column }} >= '1900-01-01{{ table.zone }}' AND {{ table.column }} < '2300-01-01{{ table.zone }}'),
    bad.rows,
    bad.keys
FROM (
    SELECT count(*) AS rows, (array_agg({{ table.key }} ORDER BY {{ table.order }}))[1:{{ table.named }}] AS keys
    FROM {{ table.relation }}
    WHERE {{ table.column }} IS NULL OR {{ table.column }} < '1900-01-01{{ table.zone }}'
       OR {{ table.column }} >= '2300-01-01{{ table.zone }}'
) AS bad
{{ "UNION ALL" if not loop.last }}
{% endfor %}
