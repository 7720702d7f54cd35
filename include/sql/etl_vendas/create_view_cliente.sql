-- The current rows: FINAL drops superseded versions and deleted rows, within each partition by itself.
CREATE OR REPLACE VIEW vendas_dw.cliente AS
SELECT `cliente_id`, `nome`, `data_nasc`, `data_cad`, `cpf`, `cidade_id`, `created_at`, `updated_at`
FROM vendas_raw.cliente FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
