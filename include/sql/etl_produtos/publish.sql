-- Runs in one transaction. DELETE and not TRUNCATE, because Redshift's TRUNCATE commits.
DELETE FROM produtos;
INSERT INTO produtos (produto_id, nome, categoria, categoria_id, preco, estoque, valor_estoque)
SELECT produto_id, nome, categoria, categoria_id, preco, estoque, valor_estoque FROM estagio_produtos;
DELETE FROM produtos_rejeitados;
INSERT INTO produtos_rejeitados (produto_id, valor_estoque, conteudo, motivo)
SELECT produto_id, valor_estoque, conteudo, motivo FROM estagio_produtos_rejeitados;
DELETE FROM produtos_agg;
INSERT INTO produtos_agg (categoria, preco_medio, estoque_total)
SELECT RTRIM(categoria), ROUND(CAST(SUM(preco) AS NUMERIC(38, 10)) / COUNT(*), 2), SUM(estoque)
FROM estagio_produtos
GROUP BY RTRIM(categoria);
