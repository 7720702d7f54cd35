{# How many pages the largest of a table and, unless it is read alone, of those that belong to it has. $1: its oid; $2: whether it is read alone. #}
WITH RECURSIVE relations AS
(
    SELECT $1::oid AS oid
    UNION
    SELECT inhrelid FROM pg_inherits JOIN relations ON inhparent = relations.oid WHERE NOT $2::boolean
)
SELECT coalesce(max(pg_relation_size(oid) / current_setting('block_size')::bigint), 0)::bigint FROM relations
