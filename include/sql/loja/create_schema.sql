-- The store's database (MariaDB 10.6 or newer, MySQL 8 or newer: SKIP LOCKED). Times are UTC. It is safe to run it again.

CREATE TABLE IF NOT EXISTS produtos (
    produto_id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    nome VARCHAR(200) NOT NULL,
    categoria VARCHAR(60) NOT NULL,
    preco DECIMAL(12, 2) NOT NULL,
    estoque INT NOT NULL,
    atualizado_em TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)
) DEFAULT CHARSET = utf8mb4;

-- A legacy table: pedido_id may not be unique, a date may be wrong, and a status may be any text.
CREATE TABLE IF NOT EXISTS pedidos (
    linha BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    pedido_id BIGINT UNSIGNED NOT NULL,
    cliente_id BIGINT UNSIGNED NULL,
    data DATETIME NULL,
    valor_total DECIMAL(14, 2) NULL,
    status VARCHAR(40) NULL,
    atualizado_em TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
    KEY por_pedido (pedido_id),
    -- etl_pedidos uses this index.
    KEY por_atualizacao (atualizado_em)
) DEFAULT CHARSET = utf8mb4;

-- The input of criacao_produtos. include/loja/products/creation.py explains the states. Columns that people may leave empty
-- are nullable.
CREATE TABLE IF NOT EXISTS produtos_pendentes (
    pendente_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    -- Set for a product that already exists. A new one gets its id when it enters the catalogue.
    produto_id INT UNSIGNED NULL,
    nome VARCHAR(200) NULL,
    categoria VARCHAR(60) NULL,
    preco DECIMAL(14, 4) NULL,
    estoque INT NULL,
    estado ENUM('pendente', 'processado', 'validado', 'catalogado', 'falhou') NOT NULL DEFAULT 'pendente',
    -- Failed tries of the next step.
    tentativas TINYINT UNSIGNED NOT NULL DEFAULT 0,
    motivo VARCHAR(500) NULL,
    proxima_em TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    reserva VARCHAR(250) NULL,
    criado_em TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    KEY por_estado (estado, proxima_em),
    KEY por_reserva (reserva)
) DEFAULT CHARSET = utf8mb4;

-- All steps of all pending products. Failed steps have a reason.
CREATE TABLE IF NOT EXISTS produtos_eventos (
    evento_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    pendente_id BIGINT UNSIGNED NOT NULL,
    etapa VARCHAR(20) NOT NULL,
    estado VARCHAR(20) NOT NULL,
    motivo VARCHAR(500) NULL,
    execucao VARCHAR(250) NOT NULL,
    em TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    KEY por_pendente (pendente_id),
    KEY por_execucao (execucao)
) DEFAULT CHARSET = utf8mb4;

-- Notices for downstream systems. Each is written in the transaction of its step (a transactional outbox).
CREATE TABLE IF NOT EXISTS avisos (
    aviso_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    pendente_id BIGINT UNSIGNED NOT NULL,
    acao ENUM('criar', 'atualizar') NOT NULL,
    criado_em TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    enviado_em TIMESTAMP(6) NULL,
    UNIQUE KEY um_por_produto (pendente_id),
    KEY por_envio (enviado_em)
-- aviso_id is the message's id. Other publishers to the same queue count from 1.
) AUTO_INCREMENT = 1000000001 DEFAULT CHARSET = utf8mb4;

-- A supplier's price list, one row for each run; precos_propostos has the result of each of its lines.
CREATE TABLE IF NOT EXISTS listas_precos (
    lista VARCHAR(250) NOT NULL PRIMARY KEY,
    origem VARCHAR(500) NOT NULL,
    sha256 CHAR(64) NOT NULL,
    lida_em TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    aplicada_em TIMESTAMP(6) NULL,
    decisao VARCHAR(20) NULL,
    decidida_por VARCHAR(250) NULL
) DEFAULT CHARSET = utf8mb4;

CREATE TABLE IF NOT EXISTS precos_propostos (
    lista VARCHAR(250) NOT NULL,
    linha INT UNSIGNED NOT NULL,
    produto_id INT UNSIGNED NULL,
    preco_antigo DECIMAL(12, 2) NULL,
    preco_novo DECIMAL(12, 2) NULL,
    situacao ENUM('aplicar', 'aprovar', 'igual', 'invalido', 'aplicado', 'recusado', 'conflito') NOT NULL,
    motivo VARCHAR(500) NULL,
    PRIMARY KEY (lista, linha)
) DEFAULT CHARSET = utf8mb4;

CREATE TABLE IF NOT EXISTS precos_historico (
    historico_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    produto_id INT UNSIGNED NOT NULL,
    preco_antigo DECIMAL(12, 2) NOT NULL,
    preco_novo DECIMAL(12, 2) NOT NULL,
    lista VARCHAR(250) NOT NULL,
    -- Who approved it, if it needed approval.
    aprovado_por VARCHAR(250) NULL,
    em TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    UNIQUE KEY um_por_lista (lista, produto_id),
    KEY por_produto (produto_id)
) DEFAULT CHARSET = utf8mb4;
