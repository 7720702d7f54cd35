-- The collected runs, one row each.
CREATE VIEW IF NOT EXISTS coletas AS
SELECT * FROM coleta
ORDER BY coletado_em, coleta
LIMIT 1 BY execucao
