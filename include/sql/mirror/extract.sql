{# The extraction of a table: its columns by position; then a flag for each column that can have values which would arrive
   changed; then the id of each row's writer. `changed` is a condition that reads settings of the session
   (include/mirror/source/changes.py). A window uses the index on the change column; a scan and a copy read the whole table. #}
SELECT
{% for expression in columns %}
    {{ expression }} AS c{{ loop.index0 }}{{ "," if not loop.last or flags or writer }}
{% endfor %}
{% for condition in flags %}
    coalesce({{ condition }}, FALSE) AS altered{{ loop.index0 }}{{ "," if not loop.last or writer }}
{% endfor %}
{% if writer %}
    {{ writer }} AS writer
{% endif %}
FROM {{ relation }}
WHERE {{ changed }}
