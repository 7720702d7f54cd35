-- The role that the mirror connects as. It can read the six tables, can see when other sessions' transactions began, and
-- can do nothing else. Run this in the source database as its owner or a superuser. It is safe to run it again.
--
-- It sets no password, and without one nobody can log in as this role. Set it in psql, so that it is written neither to a
-- file nor to the server's log:  \password mirror_reader
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

-- A row that is written now and committed after its window was read would be lost. The mirror finds such transactions in
-- pg_stat_activity. Without this privilege, it shows NULL for other roles' sessions.
GRANT pg_read_all_stats TO mirror_reader;
