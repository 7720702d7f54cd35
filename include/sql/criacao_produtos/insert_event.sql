INSERT INTO produtos_eventos (pendente_id, etapa, estado, motivo, execucao)
VALUES (%(id)s, %(step)s, %(state)s, %(reason)s, %(run)s)
