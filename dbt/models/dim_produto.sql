{{ config(order_by="produto_id") }}
SELECT produto_id, nome, preco_base, ativo
FROM {{ source("atual", "produto") }}
