INSERT INTO listas_precos (lista, origem, sha256) VALUES (%(list)s, %(origin)s, %(digest)s)
ON DUPLICATE KEY UPDATE origem = %(origin)s, sha256 = %(digest)s, lida_em = CURRENT_TIMESTAMP(6)
