-- The indexes that the extraction needs: it asks each table for `updated_at >= start AND updated_at < end`.
-- Without them every window of two minutes reads the whole table; with them it reads the rows of the window.
-- Rows are written in about the order of `updated_at`, so the index grows at its right edge and stays dense.
--
-- On a system in use, run each statement by itself as CREATE INDEX CONCURRENTLY: the plain form keeps writers
-- out of the table while it builds.
CREATE INDEX IF NOT EXISTS pais_updated_at_idx ON pais (updated_at);
CREATE INDEX IF NOT EXISTS cidade_updated_at_idx ON cidade (updated_at);
CREATE INDEX IF NOT EXISTS cliente_updated_at_idx ON cliente (updated_at);
CREATE INDEX IF NOT EXISTS produto_updated_at_idx ON produto (updated_at);
CREATE INDEX IF NOT EXISTS venda_updated_at_idx ON venda (updated_at);
CREATE INDEX IF NOT EXISTS item_venda_updated_at_idx ON item_venda (updated_at);
