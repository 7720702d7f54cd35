-- Locks the row, also a new one, so that of two reports at once the second waits for the first.
INSERT INTO metricas_contadas (execucao, fila, sucessos, falhas) VALUES (%(execucao)s, %(fila)s, 0, 0)
ON DUPLICATE KEY UPDATE fila = fila
