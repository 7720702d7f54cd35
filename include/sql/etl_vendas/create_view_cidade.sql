-- The current rows: FINAL drops superseded versions and deleted rows, within each partition by itself.
CREATE OR REPLACE VIEW vendas_dw.cidade AS
SELECT `cidade_id`, `cidade_desc`, `cidade_uf`, `pais_id`, `created_at`, `updated_at`
FROM vendas_raw.cidade FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
