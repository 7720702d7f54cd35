{{ versions("item_id", ["venda_id", "produto_id", "valor_unitario", "quantidade", "valor_total"]) }}
