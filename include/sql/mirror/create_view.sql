{# The current rows: FINAL drops superseded versions and deleted rows, within each partition by itself. A stage has
   neither. #}
CREATE OR REPLACE VIEW {{ view }} AS
SELECT {{ columns | join(", ") }}
{% if final %}
FROM {{ table }} FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
{% else %}
FROM {{ table }}
{% endif %}
