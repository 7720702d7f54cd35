-- The current state: the events of the newest run, one row each.
CREATE VIEW IF NOT EXISTS eventos_atuais AS
SELECT
    momento, evento_id, pop_id, tipo_ocorrencia, status, titulo, tipo, bairro, gravidade, prazo, descricao, inicio,
    latitude, longitude, informe_id, anexos
FROM evento FINAL
WHERE coleta = (SELECT argMax(coleta, (momento, coletado_em)) FROM coletas)
