{# All versions of a table's rows. A table is partitioned only by a range of its key: then a row never moves to another
   partition, and FINAL within each partition is correct. The columns' comments note their source columns. #}
CREATE TABLE IF NOT EXISTS {{ table }}
(
{% for column in columns %}
    {{ column.name }} {{ column.type }} COMMENT {{ column.comment }},
{% endfor %}
    {{ version }} UInt64 COMMENT 'order of the snapshot that the row was read in',
    {{ deleted }} UInt8 DEFAULT 0 COMMENT '1 where the row is gone',
    INDEX version_range {{ version }} TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree({{ version }}, {{ deleted }})
{% if partition %}
PARTITION BY {{ partition }}
{% endif %}
ORDER BY {{ order[0] if order | length == 1 else "(" ~ order | join(", ") ~ ")" }}
COMMENT {{ comment }}
