INSERT INTO cargas (ordem, carga, tabela, desde, ate, versao, completa, linhas, em)
SELECT COALESCE(MAX(ordem), 0) + 1, CAST(%s AS VARCHAR(300)), CAST(%s AS VARCHAR(60)), CAST(%s AS TIMESTAMP),
    CAST(%s AS TIMESTAMP), CAST(%s AS TIMESTAMP), CAST(%s AS BOOLEAN), CAST(%s AS BIGINT), CAST(%s AS TIMESTAMP)
FROM cargas
