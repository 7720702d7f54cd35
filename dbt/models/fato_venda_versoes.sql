{{ versions("venda_id", ["cliente_id", "data AS dia", "entregue", "valor_total"]) }}
