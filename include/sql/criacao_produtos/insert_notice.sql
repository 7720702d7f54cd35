-- There is one notice for each product, even if a step was repeated.
INSERT INTO avisos (pendente_id, acao)
VALUES (%(id)s, %(action)s)
ON DUPLICATE KEY UPDATE pendente_id = pendente_id
