-- All events, as each run found them.
CREATE VIEW IF NOT EXISTS eventos AS
SELECT
    momento, c.execucao AS execucao, evento_id, pop_id, tipo_ocorrencia, status, titulo, tipo, bairro, gravidade,
    prazo, descricao, inicio, latitude, longitude, informe_id, anexos
FROM evento FINAL
INNER JOIN (SELECT coleta, execucao FROM coletas) AS c USING (coleta)
