-- The history: each event once, as it was last seen, by bairro and by the hour (São Paulo time) in which it began.
CREATE VIEW IF NOT EXISTS por_bairro_e_hora AS
SELECT
    bairro, toStartOfHour(inicio) AS hora, tipo_ocorrencia,
    count() AS ocorrencias, countIf(status = 'ABERTO') AS vistas_abertas_por_ultimo
FROM
(
    SELECT bairro, inicio, tipo_ocorrencia, upper(status) AS status
    FROM eventos
    ORDER BY momento DESC, execucao DESC
    LIMIT 1 BY evento_id
)
GROUP BY bairro, hora, tipo_ocorrencia
