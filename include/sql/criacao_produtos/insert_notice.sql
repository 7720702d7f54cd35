-- Downstream is told once, also of a product that was repeated.
INSERT INTO avisos (pendente_id, acao)
VALUES (%(id)s, %(action)s)
ON DUPLICATE KEY UPDATE pendente_id = pendente_id
