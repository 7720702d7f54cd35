-- The warehouse's tables, for Redshift and PostgreSQL alike. Redshift counts a VARCHAR's length in bytes: four times the
-- source's. It keeps primary keys as hints and does not enforce them. May run any number of times.

CREATE TABLE IF NOT EXISTS produtos (
    produto_id BIGINT NOT NULL PRIMARY KEY,
    nome VARCHAR(800) NOT NULL,
    categoria VARCHAR(240) NOT NULL,
    categoria_id VARCHAR(10),
    preco NUMERIC(14, 2) NOT NULL,
    estoque BIGINT NOT NULL,
    valor_estoque NUMERIC(14, 2) NOT NULL
);

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
    -- The source's clock at the snapshot that the row was read in.
    versao TIMESTAMP NOT NULL
);

CREATE TABLE IF NOT EXISTS pedidos_rejeitados (
    linha BIGINT NOT NULL PRIMARY KEY,
    -- None where it is larger than the type; conteudo has it.
    pedido_id BIGINT,
    valor_total NUMERIC(14, 2),
    conteudo VARCHAR(8000) NOT NULL,
    motivo VARCHAR(2000) NOT NULL,
    versao TIMESTAMP NOT NULL
);

-- The ledger: what each load brought. Written in the load's own transaction.
CREATE TABLE IF NOT EXISTS cargas (
    ordem BIGINT NOT NULL,
    carga VARCHAR(300) NOT NULL,
    tabela VARCHAR(60) NOT NULL,
    desde TIMESTAMP,
    ate TIMESTAMP,
    -- The source's clock at the last snapshot that was read for it.
    versao TIMESTAMP NOT NULL,
    completa BOOLEAN NOT NULL,
    linhas BIGINT NOT NULL,
    em TIMESTAMP NOT NULL
);
