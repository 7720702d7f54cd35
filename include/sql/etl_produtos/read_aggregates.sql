SELECT categoria, preco_medio, estoque_total FROM produtos_agg ORDER BY categoria
