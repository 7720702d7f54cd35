-- The sales system's schema. Safe to run again: it creates what is missing and changes nothing else.

CREATE TABLE IF NOT EXISTS pais (
    pais_id    serial PRIMARY KEY,
    pais       varchar(60) NOT NULL,
    created_at timestamp DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamp DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE IF NOT EXISTS cidade (
    cidade_id   serial PRIMARY KEY,
    cidade_desc varchar(60) NOT NULL,
    cidade_uf   varchar(2),
    pais_id     integer REFERENCES pais (pais_id),
    created_at  timestamp DEFAULT CURRENT_TIMESTAMP,
    updated_at  timestamp DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE IF NOT EXISTS cliente (
    cliente_id serial PRIMARY KEY,
    nome       varchar(60) NOT NULL,
    data_nasc  date,
    data_cad   date,
    cpf        varchar(15),
    cidade_id  integer REFERENCES cidade (cidade_id),
    created_at timestamp DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamp DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE IF NOT EXISTS produto (
    produto_id serial PRIMARY KEY,
    nome       varchar(100) NOT NULL,
    descricao  text,
    preco_base decimal(10, 2),
    ativo      boolean DEFAULT true,
    created_at timestamp DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamp DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE IF NOT EXISTS venda (
    venda_id    serial PRIMARY KEY,
    cliente_id  integer REFERENCES cliente (cliente_id),
    "data"      date,
    entregue    char(1),
    valor_total decimal(10, 2),
    created_at  timestamp DEFAULT CURRENT_TIMESTAMP,
    updated_at  timestamp DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE IF NOT EXISTS item_venda (
    item_id        serial PRIMARY KEY,
    venda_id       integer REFERENCES venda (venda_id),
    produto_id     integer REFERENCES produto (produto_id),
    valor_unitario decimal(10, 2),
    quantidade     integer,
    valor_total    decimal(10, 2),
    created_at     timestamp DEFAULT CURRENT_TIMESTAMP,
    updated_at     timestamp DEFAULT CURRENT_TIMESTAMP
);

CREATE INDEX IF NOT EXISTS cidade_pais_id_idx ON cidade (pais_id);
CREATE INDEX IF NOT EXISTS cliente_cidade_id_idx ON cliente (cidade_id);
CREATE INDEX IF NOT EXISTS venda_cliente_id_idx ON venda (cliente_id);
CREATE INDEX IF NOT EXISTS venda_data_idx ON venda ("data");
CREATE INDEX IF NOT EXISTS item_venda_venda_id_idx ON item_venda (venda_id);
CREATE INDEX IF NOT EXISTS item_venda_produto_id_idx ON item_venda (produto_id);

-- CURRENT_TIMESTAMP is the start of the writing transaction, not the moment of the write. So a row may become visible long
-- after its updated_at, and a later write may have an earlier updated_at.
CREATE OR REPLACE FUNCTION set_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at = CURRENT_TIMESTAMP;
    RETURN NEW;
END
$$;

CREATE OR REPLACE TRIGGER set_updated_at BEFORE UPDATE ON pais
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE OR REPLACE TRIGGER set_updated_at BEFORE UPDATE ON cidade
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE OR REPLACE TRIGGER set_updated_at BEFORE UPDATE ON cliente
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE OR REPLACE TRIGGER set_updated_at BEFORE UPDATE ON produto
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE OR REPLACE TRIGGER set_updated_at BEFORE UPDATE ON venda
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE OR REPLACE TRIGGER set_updated_at BEFORE UPDATE ON item_venda
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
