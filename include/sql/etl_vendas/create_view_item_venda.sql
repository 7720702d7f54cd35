-- The current rows: FINAL drops superseded versions and deleted rows, within each partition by itself.
CREATE OR REPLACE VIEW vendas_dw.item_venda AS
SELECT `item_id`, `venda_id`, `produto_id`, `valor_unitario`, `quantidade`, `valor_total`, `created_at`, `updated_at`
FROM vendas_raw.item_venda FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
