-- The result of each model of the last run of dbt, and the time of its last success. The rows are those of the table's metadata;
-- a view has none. Reads the results of one month.
SELECT
    modelo, status, segundos, mensagem, testes, testes_ok, problemas, terminada_em, montado_em, total_rows
FROM
(
    SELECT *, maxOrNullIf(terminada_em, status = 'success') OVER (PARTITION BY modelo) AS montado_em
    FROM resultados
    -- A model that is no longer in the project has no result in the last run.
    QUALIFY execucao = (SELECT argMax(execucao, terminada_em) FROM resultados)
) AS resultado
LEFT JOIN (SELECT name, total_rows FROM system.tables WHERE database = currentDatabase()) AS tabela ON tabela.name = modelo
ORDER BY modelo
