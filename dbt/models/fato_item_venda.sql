{{ config(materialized="view") }}
SELECT
    item.item_id AS item_id,
    item.venda_id AS venda_id,
    item.produto_id AS produto_id,
    venda.cliente_id AS cliente_id,
    venda.dia AS dia,
    item.valor_unitario AS valor_unitario,
    item.quantidade AS quantidade,
    item.valor_total AS valor_total
FROM (SELECT * FROM {{ ref("fato_item_venda_versoes") }} FINAL) AS item
LEFT JOIN {{ ref("fato_venda") }} AS venda ON venda.venda_id = item.venda_id
