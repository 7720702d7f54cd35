-- Events that were set aside, with their run and the reason.
CREATE VIEW IF NOT EXISTS recusados AS
SELECT momento, c.execucao AS execucao, lista, evento_id, campo, motivo, conteudo
FROM recusado FINAL
INNER JOIN (SELECT coleta, execucao FROM coletas) AS c USING (coleta)
