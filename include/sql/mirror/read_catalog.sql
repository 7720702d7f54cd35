{# The catalog's entries of the named tables ($1: schemas, $2: names, in the same order) and of all ordinary and partitioned
   tables of the schema $3 (NULL for none). The result is one row with one JSON document: `types` by oid, because tables
   share types, and `relations`.

   It takes no lock on any table, so it does not wait for a table that somebody is altering. For that reason, defaults are
   printed with relation 0 (a default names no column), and sizes are the planner's estimates. #}
WITH RECURSIVE target AS MATERIALIZED (
    -- Uses pg_class_relname_nsp_index. `name = text` does not cut the text off at 63 bytes; a cast to name would.
    SELECT
        c.oid, n.oid AS namespace, n.nspname, c.relname, c.relkind, c.relispartition, c.reltuples, c.relpages, c.relfilenode
    FROM unnest($1::text[], $2::text[]) AS wanted (nspname, relname)
    JOIN pg_namespace n ON n.nspname = wanted.nspname
    JOIN pg_class c ON c.relname = wanted.relname AND c.relnamespace = n.oid
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
    UNION
    SELECT c.oid, n.oid, n.nspname, c.relname, c.relkind, c.relispartition, c.reltuples, c.relpages, c.relfilenode
    FROM pg_namespace n
    JOIN pg_class c ON c.relnamespace = n.oid
    WHERE n.nspname = $3::text AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
),
-- Partitions and inheritance children at any depth. UNION, because a table may inherit from two tables with the same parent.
descendant AS (
    SELECT target.oid AS root, i.inhrelid AS oid
    FROM target JOIN pg_inherits i ON i.inhparent = target.oid AND NOT i.inhdetachpending
    UNION
    SELECT descendant.root, i.inhrelid
    FROM descendant JOIN pg_inherits i ON i.inhparent = descendant.oid AND NOT i.inhdetachpending
),
family AS (
    SELECT
        d.root,
        json_agg(d.oid::bigint ORDER BY d.oid) FILTER (WHERE c.relispartition) AS partitions,
        bool_or(c.relispartition AND c.relkind = 'f') AS foreign_partitions,
        json_agg(json_build_array(n.nspname, c.relname) ORDER BY n.nspname, c.relname)
            FILTER (WHERE NOT c.relispartition) AS children,
        sum(c.reltuples::float8) FILTER (WHERE c.relispartition AND c.relkind <> 'p' AND c.reltuples >= 0) AS rows,
        sum(c.relpages::bigint) FILTER (WHERE c.relispartition AND c.relkind <> 'p') AS pages,
        md5(string_agg(c.relfilenode::text, ' ' ORDER BY c.relfilenode) FILTER (WHERE c.relkind = 'r')) AS files
    FROM descendant d
    JOIN pg_class c ON c.oid = d.oid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    GROUP BY d.root
),
-- A partitioned table stores no rows itself, so only its partitions have this flag.
late_column AS (
    SELECT DISTINCT d.root, a.attname
    FROM descendant d JOIN pg_attribute a ON a.attrelid = d.oid AND a.atthasmissing AND NOT a.attisdropped
),
disabled_trigger AS (
    SELECT DISTINCT d.root, t.tgname
    FROM descendant d JOIN pg_trigger t ON t.tgrelid = d.oid AND t.tgenabled NOT IN ('O', 'A')
),
-- The stored expressions of generated columns, because printing them would take a lock. Partitions may have their own.
expression AS (
    SELECT e.root, a.attname, string_agg(DISTINCT md5(d.adbin::text), ' ' ORDER BY md5(d.adbin::text)) AS digest
    FROM (SELECT oid AS root, oid FROM target UNION SELECT root, oid FROM descendant) AS e
    JOIN pg_attribute a ON a.attrelid = e.oid AND a.attgenerated <> '' AND NOT a.attisdropped
    JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    GROUP BY e.root, a.attname
),
fed AS (
    SELECT s.srrelid AS root FROM pg_subscription_rel s
    UNION
    SELECT d.root FROM descendant d JOIN pg_subscription_rel s ON s.srrelid = d.oid
),
columns AS (
    SELECT
        a.attrelid,
        json_agg(json_build_object(
            'name', a.attname,
            'number', a.attnum,
            'type', a.atttypid::bigint,
            'modifier', a.atttypmod,
            'declared', format_type(a.atttypid, a.atttypmod),
            -- Since PostgreSQL 18, a NOT VALID constraint also sets attnotnull, although old rows were not checked. A
            -- domain's NOT NULL does not count: a column of such a domain can hold NULL (CREATE DOMAIN, Notes).
            'not_null', a.attnotnull AND NOT EXISTS (
                SELECT FROM pg_constraint k
                WHERE k.conrelid = a.attrelid AND k.contype = 'n' AND k.conkey = ARRAY[a.attnum] AND NOT k.convalidated
            ),
            -- A domain's default is used if the column has none. The expression of a generated column is not a default.
            'default', CASE WHEN a.attgenerated = '' THEN pg_get_expr(coalesce(d.adbin, t.typdefaultbin), 0) END,
            'generated', a.attgenerated,
            'expression', expression.digest,
            'identity', a.attidentity,
            'missing_value', a.atthasmissing OR late_column.root IS NOT NULL
        ) ORDER BY a.attnum) AS list
    FROM target
    JOIN pg_attribute a ON a.attrelid = target.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    LEFT JOIN late_column ON late_column.root = a.attrelid AND late_column.attname = a.attname
    LEFT JOIN expression ON expression.root = a.attrelid AND expression.attname = a.attname
    GROUP BY a.attrelid
),
indexes AS (
    SELECT
        i.indrelid,
        json_agg(json_build_object(
            'name', c.relname,
            -- The key columns, without INCLUDE columns. An expression has number 0 and no name.
            'columns', (
                SELECT json_agg(a.attname ORDER BY k.place)
                FROM unnest(i.indkey) WITH ORDINALITY AS k (number, place)
                LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number AND k.number <> 0
                WHERE k.place <= i.indnkeyatts
            ),
            'unique', i.indisunique,
            'primary', i.indisprimary,
            'partial', i.indpred IS NOT NULL,
            'method', am.amname
        ) ORDER BY c.relname) AS list
    FROM target
    JOIN pg_index i ON i.indrelid = target.oid AND i.indisvalid AND i.indisready AND i.indislive
    JOIN pg_class c ON c.oid = i.indexrelid
    JOIN pg_am am ON am.oid = c.relam
    GROUP BY i.indrelid
),
triggers AS (
    SELECT
        t.tgrelid,
        json_agg(json_build_object(
            'name', t.tgname,
            'type', t.tgtype,
            -- A WHEN that only skips updates which change nothing is not a condition: no change goes past the trigger.
            'conditional', t.tgqual IS NOT NULL
                AND position('WHEN ((old.* IS DISTINCT FROM new.*)) EXECUTE' IN pg_get_triggerdef(t.oid)) = 0,
            'columns', (
                SELECT json_agg(a.attname ORDER BY a.attnum)
                FROM pg_attribute a WHERE a.attrelid = t.tgrelid AND a.attnum = ANY (t.tgattr)
            ),
            'function', p.proname,
            'body', p.prosrc,
            'arguments', encode(t.tgargs, 'hex')
        ) ORDER BY t.tgname) AS list
    FROM target
    JOIN pg_trigger t ON t.tgrelid = target.oid AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
    JOIN pg_proc p ON p.oid = t.tgfoid
    -- A row trigger of a partitioned table is copied to each partition, and may be disabled there.
    WHERE (t.tgrelid, t.tgname) NOT IN (SELECT root, tgname FROM disabled_trigger)
    GROUP BY t.tgrelid
),
-- The delete log to which the mirror's triggers write. `identity` changes if somebody changes the log, its function or its
-- triggers: their catalog rows get another xmin then.
delete_log AS (
    SELECT
        member.root,
        min(c.oid) AS oid,
        json_agg(json_build_array(member.oid::bigint, t.tgname, t.tgenabled)) AS triggers,
        md5(string_agg(
            concat_ws(' ', t.oid, t.xmin, t.tgenabled, p.oid, p.xmin, c.oid, c.relfilenode), ',' ORDER BY t.oid
        )) AS identity
    FROM (SELECT oid AS root, oid FROM target UNION SELECT root, oid FROM descendant) AS member
    JOIN pg_trigger t ON t.tgrelid = member.oid AND t.tgname IN ('mirror_delete', 'mirror_key', 'mirror_truncate')
    JOIN pg_proc p ON p.oid = t.tgfoid
    JOIN pg_namespace n ON n.oid = p.pronamespace AND n.nspname = 'mirror'
    JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = p.proname AND c.relkind = 'r'
    GROUP BY member.root
    HAVING count(DISTINCT c.oid) = 1
),
-- The columns' types and the types that they are made of: of domains, arrays, ranges and composite types.
used_type AS (
    SELECT DISTINCT a.atttypid AS oid
    FROM target JOIN pg_attribute a ON a.attrelid = target.oid AND a.attnum > 0 AND NOT a.attisdropped
    UNION
    SELECT part.oid
    FROM used_type u
    JOIN pg_type t ON t.oid = u.oid
    CROSS JOIN LATERAL (
        SELECT t.typbasetype WHERE t.typtype = 'd'
        UNION ALL
        SELECT t.typelem WHERE t.typelem <> 0
        UNION ALL
        SELECT r.rngsubtype FROM pg_range r WHERE r.rngtypid = t.oid OR r.rngmultitypid = t.oid
        UNION ALL
        SELECT a.atttypid FROM pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
    ) AS part (oid)
)
SELECT json_build_object(
    'types', (
        SELECT json_object_agg(t.oid::bigint, json_build_object(
            'name', t.typname,
            'schema', n.nspname,
            'declared', format_type(t.oid, NULL),
            'kind', t.typtype,
            'base', t.typbasetype::bigint,
            'modifier', t.typtypmod,
            -- int2vector and similar types have elements too, but are not arrays.
            'element', (SELECT e.oid::bigint FROM pg_type e WHERE e.oid = t.typelem AND e.typarray = t.oid),
            -- In the enum's order. A label keeps its number when it is renamed; labels that are added later have higher ones.
            'labels', (
                SELECT json_agg(json_build_array(e.oid::bigint, e.enumlabel) ORDER BY e.enumsortorder)
                FROM pg_enum e WHERE e.enumtypid = t.oid
            ),
            'parts', array_remove(ARRAY[
                CASE t.typtype WHEN 'd' THEN t.typbasetype END,
                nullif(t.typelem, 0),
                (SELECT r.rngsubtype FROM pg_range r WHERE r.rngtypid = t.oid OR r.rngmultitypid = t.oid)
            ]::bigint[], NULL),
            'attributes', (
                SELECT json_agg(json_build_array(a.attnum, a.atttypid::bigint, a.atttypmod) ORDER BY a.attnum)
                FROM pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
            ),
            -- What decides the type's text and can change: an output function, a cast, and for money the locale.
            'prints', concat_ws(' ',
                CASE WHEN t.typtype = 'b' AND t.typelem = 0 AND n.nspname <> 'pg_catalog' THEN t.typoutput::oid::text END,
                (
                    SELECT 'cast ' || k.castfunc FROM pg_cast k
                    WHERE k.castsource = t.oid AND k.casttarget = 'text'::regtype AND n.nspname <> 'pg_catalog'
                ),
                CASE WHEN t.oid = 'money'::regtype THEN current_setting('lc_monetary') END
            )
        ))
        FROM used_type u
        JOIN pg_type t ON t.oid = u.oid
        JOIN pg_namespace n ON n.oid = t.typnamespace
    ),
    'relations', (
        SELECT json_agg(json_build_object(
            'oid', t.oid::bigint,
            'schema', t.nspname,
            'name', t.relname,
            'kind', t.relkind,
            'is_partition', t.relispartition,
            'columns', columns.list,
            'indexes', indexes.list,
            'triggers', triggers.list,
            'rows', CASE t.relkind WHEN 'p' THEN family.rows ELSE nullif(t.reltuples, -1)::float8 END,
            'pages', CASE t.relkind WHEN 'p' THEN coalesce(family.pages, 0) ELSE t.relpages END,
            'partitions', family.partitions,
            'foreign_partitions', coalesce(family.foreign_partitions, false),
            'children', family.children,
            -- SELECT on the whole table: privileges on columns are not enough for LOCK TABLE and xmin. NULL if the table
            -- was dropped meanwhile.
            'readable', coalesce(has_table_privilege(t.oid, 'SELECT'), false),
            'reachable', coalesce(has_schema_privilege(t.namespace, 'USAGE'), false),
            'row_security', coalesce(row_security_active(t.oid), false),
            'fed', t.oid IN (SELECT root FROM fed),
            'delete_log', (
                SELECT json_build_object(
                    'name', c.relname,
                    'identity', log.identity,
                    'triggers', log.triggers,
                    'readable', coalesce(has_schema_privilege(c.relnamespace, 'USAGE'), false)
                        AND coalesce(has_table_privilege(c.oid, 'SELECT'), false),
                    'columns', (
                        SELECT json_agg(json_build_array(a.attname, format_type(a.atttypid, a.atttypmod)) ORDER BY a.attnum)
                        FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                    )
                )
                FROM delete_log AS log JOIN pg_class c ON c.oid = log.oid WHERE log.root = t.oid
            ),
            'files', CASE t.relkind WHEN 'p' THEN family.files ELSE nullif(t.relfilenode, 0)::text END,
            'xmin', pg_snapshot_xmin(pg_current_snapshot())::text::bigint
        ) ORDER BY t.nspname, t.relname)
        FROM target t
        LEFT JOIN family ON family.root = t.oid
        LEFT JOIN columns ON columns.attrelid = t.oid
        LEFT JOIN indexes ON indexes.indrelid = t.oid
        LEFT JOIN triggers ON triggers.tgrelid = t.oid
    )
)
