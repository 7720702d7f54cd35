-- The current rows: FINAL drops superseded versions and deleted rows, within each partition by itself.
CREATE OR REPLACE VIEW vendas_dw.pais AS
SELECT `pais_id`, `pais`, `created_at`, `updated_at`
FROM vendas_raw.pais FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
