{# What a table's extraction reads: its columns by position, then one flag per column that can have values which would
   not arrive as they are, then the id of each row's writer. `changed` refers to settings of the session
   (include/mirror/source/changes.py). A window uses the index on the table's change column; a scan and a copy read the
   table in sequence. #}
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
