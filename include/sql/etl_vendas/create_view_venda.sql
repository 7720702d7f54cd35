-- The current rows: FINAL drops superseded versions and deleted rows, within each partition by itself.
CREATE OR REPLACE VIEW vendas_dw.venda AS
SELECT `venda_id`, `cliente_id`, `data`, `entregue`, `valor_total`, `created_at`, `updated_at`
FROM vendas_raw.venda FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
