{{ config(order_by="cliente_id") }}
-- Without cpf and date of birth: no mart needs them.
SELECT
    cliente.cliente_id AS cliente_id,
    cliente.nome AS nome,
    cliente.data_cad AS data_cad,
    cidade.cidade_desc AS cidade,
    cidade.cidade_uf AS uf,
    pais.pais AS pais
FROM {{ source("atual", "cliente") }} AS cliente
LEFT JOIN {{ source("atual", "cidade") }} AS cidade ON cidade.cidade_id = cliente.cidade_id
LEFT JOIN {{ source("atual", "pais") }} AS pais ON pais.pais_id = cidade.pais_id
