{# The current rows. FINAL drops old versions and deleted rows, in each partition separately. A stage has neither. #}
CREATE OR REPLACE VIEW {{ view }} AS
SELECT {{ columns | join(", ") }}
{% if final %}
FROM {{ table }} FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
{% else %}
FROM {{ table }}
{% endif %}
