-- The warehouse's tables, for Redshift and PostgreSQL. Redshift counts a VARCHAR's length in bytes, so lengths are four times
-- the source's. It uses primary keys as hints and does not enforce them. It is safe to run it again.

CREATE TABLE IF NOT EXISTS produtos (
    produto_id BIGINT NOT NULL PRIMARY KEY,
    nome VARCHAR(800) NOT NULL,
    categoria VARCHAR(240) NOT NULL,
    categoria_id VARCHAR(10),
    preco NUMERIC(14, 2) NOT NULL,
    estoque BIGINT NOT NULL,
    valor_estoque NUMERIC(14, 2) NOT NULL
);

-- Products that the warehouse can't hold, with the reason. conteudo is JSON.
CREATE TABLE IF NOT EXISTS produtos_rejeitados (
    produto_id BIGINT NOT NULL PRIMARY KEY,
    valor_estoque NUMERIC(14, 2) NOT NULL,
    conteudo VARCHAR(8000) NOT NULL,
    motivo VARCHAR(2000) NOT NULL
);

-- The totals of the products that are not set aside.
CREATE TABLE IF NOT EXISTS produtos_agg (
    categoria VARCHAR(240) NOT NULL PRIMARY KEY,
    preco_medio NUMERIC(14, 2) NOT NULL,
    estoque_total BIGINT NOT NULL
);

CREATE TABLE IF NOT EXISTS pedidos (
    linha BIGINT NOT NULL,
    pedido_id BIGINT NOT NULL PRIMARY KEY,
    cliente_id BIGINT NOT NULL,
    data TIMESTAMP NOT NULL,
    valor_total NUMERIC(14, 2) NOT NULL,
    status VARCHAR(160) NOT NULL,
    -- The source's clock at the snapshot in which the row was read.
    versao TIMESTAMP NOT NULL
);

CREATE TABLE IF NOT EXISTS pedidos_rejeitados (
    linha BIGINT NOT NULL PRIMARY KEY,
    -- NULL if the number is too large for the type; conteudo has it.
    pedido_id BIGINT,
    valor_total NUMERIC(14, 2),
    conteudo VARCHAR(8000) NOT NULL,
    motivo VARCHAR(2000) NOT NULL,
    versao TIMESTAMP NOT NULL
);

-- The ledger: the result of each load. A row is written in the load's own transaction.
CREATE TABLE IF NOT EXISTS cargas (
    ordem BIGINT NOT NULL,
    carga VARCHAR(300) NOT NULL,
    tabela VARCHAR(60) NOT NULL,
    desde TIMESTAMP,
    ate TIMESTAMP,
    -- The source's clock at the load's last snapshot.
    versao TIMESTAMP NOT NULL,
    completa BOOLEAN NOT NULL,
    linhas BIGINT NOT NULL,
    em TIMESTAMP NOT NULL
);
