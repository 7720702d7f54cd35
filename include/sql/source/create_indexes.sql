-- The indexes for the extraction, which reads `updated_at >= start AND updated_at < end` from each table. Without them,
-- every window of two minutes reads the whole table. With them, it reads only the window's rows.
-- Rows are written in about the order of `updated_at`, so the index grows at its right end and stays dense.
--
-- On a system in use, run each statement separately as CREATE INDEX CONCURRENTLY. The plain form blocks writers
-- until the index is built.
CREATE INDEX IF NOT EXISTS pais_updated_at_idx ON pais (updated_at);
CREATE INDEX IF NOT EXISTS cidade_updated_at_idx ON cidade (updated_at);
CREATE INDEX IF NOT EXISTS cliente_updated_at_idx ON cliente (updated_at);
CREATE INDEX IF NOT EXISTS produto_updated_at_idx ON produto (updated_at);
CREATE INDEX IF NOT EXISTS venda_updated_at_idx ON venda (updated_at);
CREATE INDEX IF NOT EXISTS item_venda_updated_at_idx ON item_venda (updated_at);
