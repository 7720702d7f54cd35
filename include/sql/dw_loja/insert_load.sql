INSERT INTO cargas (ordem, carga, tabela, desde, ate, completa, linhas, em)
SELECT COALESCE(MAX(ordem), 0) + 1, %s, %s, CAST(%s AS TIMESTAMP), CAST(%s AS TIMESTAMP), %s, %s, CAST(%s AS TIMESTAMP)
FROM cargas
