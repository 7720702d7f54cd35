-- The tables of the queue workers, in the store's database. It is safe to run it again.

-- The messages that have been applied, by id. The row and the message's effect are written in one transaction.
CREATE TABLE IF NOT EXISTS mensagens (
    mensagem_id VARCHAR(40) NOT NULL PRIMARY KEY,
    fila VARCHAR(40) NOT NULL,
    tipo VARCHAR(10) NOT NULL,
    acao VARCHAR(10) NOT NULL,
    origem VARCHAR(10) NOT NULL,
    prioridade VARCHAR(10) NOT NULL,
    criada_em DATETIME(6) NOT NULL,
    -- SHA-256 of the content. The same id with another content is an error of the sender, not a repetition.
    resumo BINARY(32) NOT NULL,
    execucao VARCHAR(300) NOT NULL,
    guardada_em TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    KEY por_execucao (execucao, fila)
) DEFAULT CHARSET = utf8mb4;

-- The effects of messages, one row for each. This table does not prevent applying a message twice; `mensagens` does.
CREATE TABLE IF NOT EXISTS movimentos (
    movimento_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    mensagem_id VARCHAR(40) NOT NULL,
    tipo VARCHAR(10) NOT NULL,
    acao VARCHAR(10) NOT NULL,
    em TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)
) DEFAULT CHARSET = utf8mb4;

-- The failures of messages. The key is the message's digest, with its id in front if it has one.
CREATE TABLE IF NOT EXISTS mensagens_falhas (
    chave VARCHAR(80) NOT NULL,
    fila VARCHAR(40) NOT NULL,
    -- Failed tries, and deliveries after one that was not finished.
    tentativas INT UNSIGNED NOT NULL DEFAULT 0,
    entregas INT UNSIGNED NOT NULL DEFAULT 0,
    motivo VARCHAR(500) NULL,
    -- The run that put it into the dead-letter queue; before that, the run in which it first failed.
    execucao VARCHAR(300) NOT NULL,
    -- When it was put into the dead-letter queue, and how often in that run.
    morta_em TIMESTAMP(6) NULL,
    mortes INT UNSIGNED NOT NULL DEFAULT 0,
    PRIMARY KEY (chave, fila),
    KEY por_execucao (execucao, fila)
) DEFAULT CHARSET = utf8mb4;

-- The results of each run, by queue. They are computed again from the tables above whenever they are requested.
CREATE TABLE IF NOT EXISTS metricas_filas (
    execucao VARCHAR(300) NOT NULL,
    fila VARCHAR(40) NOT NULL,
    total INT UNSIGNED NOT NULL,
    sucessos INT UNSIGNED NOT NULL,
    falhas INT UNSIGNED NOT NULL,
    -- sucessos / total; NULL if total is 0.
    taxa DECIMAL(7, 6) NULL,
    em TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
    PRIMARY KEY (execucao, fila)
) DEFAULT CHARSET = utf8mb4;

-- What the counters of OpenTelemetry have been given of each run. A report that is repeated gives them only the rest.
CREATE TABLE IF NOT EXISTS metricas_contadas (
    execucao VARCHAR(300) NOT NULL,
    fila VARCHAR(40) NOT NULL,
    sucessos INT UNSIGNED NOT NULL,
    falhas INT UNSIGNED NOT NULL,
    PRIMARY KEY (execucao, fila)
) DEFAULT CHARSET = utf8mb4;
