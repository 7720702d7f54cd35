-- In the warehouse, which is Redshift or PostgreSQL. taxa is NULL if total is 0.
CREATE TABLE IF NOT EXISTS metricas_filas (
    execucao VARCHAR(300) NOT NULL,
    fila VARCHAR(40) NOT NULL,
    total INTEGER NOT NULL,
    sucessos INTEGER NOT NULL,
    falhas INTEGER NOT NULL,
    taxa DECIMAL(7, 6),
    em TIMESTAMP WITH TIME ZONE NOT NULL
)
