-- The current rows: FINAL drops superseded versions and deleted rows, within each partition by itself.
CREATE OR REPLACE VIEW vendas_dw.produto AS
SELECT `produto_id`, `nome`, `descricao`, `preco_base`, `ativo`, `created_at`, `updated_at`
FROM vendas_raw.produto FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
