SELECT produto_id, preco FROM produtos
