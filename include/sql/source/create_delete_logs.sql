-- Logs of deleted keys, made by: python -m include.mirror delete-log
-- Triggers write the keys that a DELETE, a TRUNCATE or a changed key removes; each run of the mirror reads them.
-- Run this in the source database as the tables' owner or a superuser. It is safe to run it again. After a table gets a
-- partition or another key, print it again and run it.
CREATE SCHEMA IF NOT EXISTS mirror;
GRANT USAGE ON SCHEMA mirror TO "mirror_reader";

-- public.cidade
CREATE TABLE IF NOT EXISTS "mirror"."public.cidade" ("cidade_id" integer);
CREATE OR REPLACE FUNCTION "mirror"."public.cidade"() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $mirror$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        INSERT INTO "mirror"."public.cidade" DEFAULT VALUES;
    ELSE
        INSERT INTO "mirror"."public.cidade" ("cidade_id") VALUES (OLD."cidade_id");
    END IF;
    RETURN NULL;
END
$mirror$;
REVOKE ALL ON FUNCTION "mirror"."public.cidade"() FROM PUBLIC;
CREATE OR REPLACE TRIGGER mirror_delete AFTER DELETE ON "public"."cidade" FOR EACH ROW EXECUTE FUNCTION "mirror"."public.cidade"();
CREATE OR REPLACE TRIGGER mirror_key AFTER UPDATE ON "public"."cidade" FOR EACH ROW WHEN (OLD."cidade_id" IS DISTINCT FROM NEW."cidade_id") EXECUTE FUNCTION "mirror"."public.cidade"();
ALTER TABLE "public"."cidade" ENABLE ALWAYS TRIGGER mirror_delete;
ALTER TABLE "public"."cidade" ENABLE ALWAYS TRIGGER mirror_key;
CREATE OR REPLACE TRIGGER mirror_truncate AFTER TRUNCATE ON "public"."cidade" FOR EACH STATEMENT EXECUTE FUNCTION "mirror"."public.cidade"();
ALTER TABLE "public"."cidade" ENABLE ALWAYS TRIGGER mirror_truncate;
GRANT SELECT, DELETE ON "mirror"."public.cidade" TO "mirror_reader";

-- public.cliente
CREATE TABLE IF NOT EXISTS "mirror"."public.cliente" ("cliente_id" integer);
CREATE OR REPLACE FUNCTION "mirror"."public.cliente"() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $mirror$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        INSERT INTO "mirror"."public.cliente" DEFAULT VALUES;
    ELSE
        INSERT INTO "mirror"."public.cliente" ("cliente_id") VALUES (OLD."cliente_id");
    END IF;
    RETURN NULL;
END
$mirror$;
REVOKE ALL ON FUNCTION "mirror"."public.cliente"() FROM PUBLIC;
CREATE OR REPLACE TRIGGER mirror_delete AFTER DELETE ON "public"."cliente" FOR EACH ROW EXECUTE FUNCTION "mirror"."public.cliente"();
CREATE OR REPLACE TRIGGER mirror_key AFTER UPDATE ON "public"."cliente" FOR EACH ROW WHEN (OLD."cliente_id" IS DISTINCT FROM NEW."cliente_id") EXECUTE FUNCTION "mirror"."public.cliente"();
ALTER TABLE "public"."cliente" ENABLE ALWAYS TRIGGER mirror_delete;
ALTER TABLE "public"."cliente" ENABLE ALWAYS TRIGGER mirror_key;
CREATE OR REPLACE TRIGGER mirror_truncate AFTER TRUNCATE ON "public"."cliente" FOR EACH STATEMENT EXECUTE FUNCTION "mirror"."public.cliente"();
ALTER TABLE "public"."cliente" ENABLE ALWAYS TRIGGER mirror_truncate;
GRANT SELECT, DELETE ON "mirror"."public.cliente" TO "mirror_reader";

-- public.item_venda
CREATE TABLE IF NOT EXISTS "mirror"."public.item_venda" ("item_id" integer);
CREATE OR REPLACE FUNCTION "mirror"."public.item_venda"() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $mirror$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        INSERT INTO "mirror"."public.item_venda" DEFAULT VALUES;
    ELSE
        INSERT INTO "mirror"."public.item_venda" ("item_id") VALUES (OLD."item_id");
    END IF;
    RETURN NULL;
END
$mirror$;
REVOKE ALL ON FUNCTION "mirror"."public.item_venda"() FROM PUBLIC;
CREATE OR REPLACE TRIGGER mirror_delete AFTER DELETE ON "public"."item_venda" FOR EACH ROW EXECUTE FUNCTION "mirror"."public.item_venda"();
CREATE OR REPLACE TRIGGER mirror_key AFTER UPDATE ON "public"."item_venda" FOR EACH ROW WHEN (OLD."item_id" IS DISTINCT FROM NEW."item_id") EXECUTE FUNCTION "mirror"."public.item_venda"();
ALTER TABLE "public"."item_venda" ENABLE ALWAYS TRIGGER mirror_delete;
ALTER TABLE "public"."item_venda" ENABLE ALWAYS TRIGGER mirror_key;
CREATE OR REPLACE TRIGGER mirror_truncate AFTER TRUNCATE ON "public"."item_venda" FOR EACH STATEMENT EXECUTE FUNCTION "mirror"."public.item_venda"();
ALTER TABLE "public"."item_venda" ENABLE ALWAYS TRIGGER mirror_truncate;
GRANT SELECT, DELETE ON "mirror"."public.item_venda" TO "mirror_reader";

-- public.pais
CREATE TABLE IF NOT EXISTS "mirror"."public.pais" ("pais_id" integer);
CREATE OR REPLACE FUNCTION "mirror"."public.pais"() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $mirror$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        INSERT INTO "mirror"."public.pais" DEFAULT VALUES;
    ELSE
        INSERT INTO "mirror"."public.pais" ("pais_id") VALUES (OLD."pais_id");
    END IF;
    RETURN NULL;
END
$mirror$;
REVOKE ALL ON FUNCTION "mirror"."public.pais"() FROM PUBLIC;
CREATE OR REPLACE TRIGGER mirror_delete AFTER DELETE ON "public"."pais" FOR EACH ROW EXECUTE FUNCTION "mirror"."public.pais"();
CREATE OR REPLACE TRIGGER mirror_key AFTER UPDATE ON "public"."pais" FOR EACH ROW WHEN (OLD."pais_id" IS DISTINCT FROM NEW."pais_id") EXECUTE FUNCTION "mirror"."public.pais"();
ALTER TABLE "public"."pais" ENABLE ALWAYS TRIGGER mirror_delete;
ALTER TABLE "public"."pais" ENABLE ALWAYS TRIGGER mirror_key;
CREATE OR REPLACE TRIGGER mirror_truncate AFTER TRUNCATE ON "public"."pais" FOR EACH STATEMENT EXECUTE FUNCTION "mirror"."public.pais"();
ALTER TABLE "public"."pais" ENABLE ALWAYS TRIGGER mirror_truncate;
GRANT SELECT, DELETE ON "mirror"."public.pais" TO "mirror_reader";

-- public.produto
CREATE TABLE IF NOT EXISTS "mirror"."public.produto" ("produto_id" integer);
CREATE OR REPLACE FUNCTION "mirror"."public.produto"() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $mirror$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        INSERT INTO "mirror"."public.produto" DEFAULT VALUES;
    ELSE
        INSERT INTO "mirror"."public.produto" ("produto_id") VALUES (OLD."produto_id");
    END IF;
    RETURN NULL;
END
$mirror$;
REVOKE ALL ON FUNCTION "mirror"."public.produto"() FROM PUBLIC;
CREATE OR REPLACE TRIGGER mirror_delete AFTER DELETE ON "public"."produto" FOR EACH ROW EXECUTE FUNCTION "mirror"."public.produto"();
CREATE OR REPLACE TRIGGER mirror_key AFTER UPDATE ON "public"."produto" FOR EACH ROW WHEN (OLD."produto_id" IS DISTINCT FROM NEW."produto_id") EXECUTE FUNCTION "mirror"."public.produto"();
ALTER TABLE "public"."produto" ENABLE ALWAYS TRIGGER mirror_delete;
ALTER TABLE "public"."produto" ENABLE ALWAYS TRIGGER mirror_key;
CREATE OR REPLACE TRIGGER mirror_truncate AFTER TRUNCATE ON "public"."produto" FOR EACH STATEMENT EXECUTE FUNCTION "mirror"."public.produto"();
ALTER TABLE "public"."produto" ENABLE ALWAYS TRIGGER mirror_truncate;
GRANT SELECT, DELETE ON "mirror"."public.produto" TO "mirror_reader";

-- public.venda
CREATE TABLE IF NOT EXISTS "mirror"."public.venda" ("venda_id" integer);
CREATE OR REPLACE FUNCTION "mirror"."public.venda"() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $mirror$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        INSERT INTO "mirror"."public.venda" DEFAULT VALUES;
    ELSE
        INSERT INTO "mirror"."public.venda" ("venda_id") VALUES (OLD."venda_id");
    END IF;
    RETURN NULL;
END
$mirror$;
REVOKE ALL ON FUNCTION "mirror"."public.venda"() FROM PUBLIC;
CREATE OR REPLACE TRIGGER mirror_delete AFTER DELETE ON "public"."venda" FOR EACH ROW EXECUTE FUNCTION "mirror"."public.venda"();
CREATE OR REPLACE TRIGGER mirror_key AFTER UPDATE ON "public"."venda" FOR EACH ROW WHEN (OLD."venda_id" IS DISTINCT FROM NEW."venda_id") EXECUTE FUNCTION "mirror"."public.venda"();
ALTER TABLE "public"."venda" ENABLE ALWAYS TRIGGER mirror_delete;
ALTER TABLE "public"."venda" ENABLE ALWAYS TRIGGER mirror_key;
CREATE OR REPLACE TRIGGER mirror_truncate AFTER TRUNCATE ON "public"."venda" FOR EACH STATEMENT EXECUTE FUNCTION "mirror"."public.venda"();
ALTER TABLE "public"."venda" ENABLE ALWAYS TRIGGER mirror_truncate;
GRANT SELECT, DELETE ON "mirror"."public.venda" TO "mirror_reader";
