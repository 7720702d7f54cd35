-- The rows of the CSV, with its columns and the run.
CREATE VIEW IF NOT EXISTS contagens AS
SELECT
    momento, c.execucao AS execucao, toTimeZone(momento, 'America/Sao_Paulo') AS datetime,
    tipo_ocorrencia, status_ocorrencia, quantidade_ocorrencia
FROM contagem FINAL
INNER JOIN (SELECT coleta, execucao FROM coletas) AS c USING (coleta)
