-- What the queue workers keep in the store's database. May run any number of times.

-- The messages whose effect is in the database, by id: the row and the effect are written in one transaction.
CREATE TABLE IF NOT EXISTS mensagens (
    mensagem_id VARCHAR(40) NOT NULL PRIMARY KEY,
    fila VARCHAR(40) NOT NULL,
    tipo VARCHAR(10) NOT NULL,
    acao VARCHAR(10) NOT NULL,
    origem VARCHAR(10) NOT NULL,
    prioridade VARCHAR(10) NOT NULL,
    criada_em DATETIME(6) NOT NULL,
    -- SHA-256 of what it says: the same id with another content is an error of the sender, not a repetition.
    resumo BINARY(32) NOT NULL,
    execucao VARCHAR(300) NOT NULL,
    guardada_em TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    KEY por_execucao (execucao, fila)
) DEFAULT CHARSET = utf8mb4;

-- What messages did, one row for each. Nothing here keeps a message from being applied twice: `mensagens` does.
CREATE TABLE IF NOT EXISTS movimentos (
    movimento_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    mensagem_id VARCHAR(40) NOT NULL,
    tipo VARCHAR(10) NOT NULL,
    acao VARCHAR(10) NOT NULL,
    em TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)
) DEFAULT CHARSET = utf8mb4;

-- What went wrong with a message: by its digest, after its id where it has one.
CREATE TABLE IF NOT EXISTS mensagens_falhas (
    chave VARCHAR(80) NOT NULL,
    fila VARCHAR(40) NOT NULL,
    -- Tries that failed, and deliveries after one that nobody finished.
    tentativas INT UNSIGNED NOT NULL DEFAULT 0,
    entregas INT UNSIGNED NOT NULL DEFAULT 0,
    motivo VARCHAR(500) NULL,
    -- The run that put it into the dead-letter queue; before that, the one in which it failed first.
    execucao VARCHAR(300) NOT NULL,
    -- Set once it lies in the dead-letter queue, and how often it was put there in that run.
    morta_em TIMESTAMP(6) NULL,
    mortes INT UNSIGNED NOT NULL DEFAULT 0,
    PRIMARY KEY (chave, fila),
    KEY por_execucao (execucao, fila)
) DEFAULT CHARSET = utf8mb4;

-- What each run did, by queue; rewritten from the tables above whenever it is asked for.
CREATE TABLE IF NOT EXISTS metricas_filas (
    execucao VARCHAR(300) NOT NULL,
    fila VARCHAR(40) NOT NULL,
    total INT UNSIGNED NOT NULL,
    sucessos INT UNSIGNED NOT NULL,
    falhas INT UNSIGNED NOT NULL,
    -- sucessos / total; NULL where nothing was there to succeed.
    taxa DECIMAL(7, 6) NULL,
    em TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
    PRIMARY KEY (execucao, fila)
) DEFAULT CHARSET = utf8mb4;
