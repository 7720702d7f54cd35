{# The current rows: FINAL drops superseded versions and deleted rows, within each partition by itself. #}
CREATE OR REPLACE VIEW {{ view }} AS
SELECT {{ columns | join(", ") }}
FROM {{ table }} FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
