-- The role that the mirror connects as: it reads the six tables and sees when other sessions' transactions
-- began, and can do nothing else. Run it in the source database as its owner or a superuser. It is safe to run it again.
--
-- It sets no password, and without one nobody can log in with it. Set it so that it reaches neither a file nor
-- the server's log, in psql:  \password mirror_reader
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'mirror_reader') THEN
        CREATE ROLE mirror_reader LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION;
    END IF;
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO mirror_reader', current_database());
END
$$;

ALTER ROLE mirror_reader SET default_transaction_read_only = on;

GRANT USAGE ON SCHEMA public TO mirror_reader;
GRANT SELECT ON pais, cidade, cliente, produto, venda, item_venda TO mirror_reader;

-- A row that is written now and committed after its window was read would be lost. The mirror finds such
-- transactions in pg_stat_activity, which shows other roles' sessions as NULL without this.
GRANT pg_read_all_stats TO mirror_reader;
