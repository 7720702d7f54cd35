{# The largest number of pages of a table ($1: its oid) and of its partitions and inheriting tables. $2: true to look at the
   table alone. #}
WITH RECURSIVE relations AS
(
    SELECT $1::oid AS oid
    UNION
    SELECT inhrelid FROM pg_inherits JOIN relations ON inhparent = relations.oid WHERE NOT $2::boolean
)
SELECT coalesce(max(pg_relation_size(oid) / current_setting('block_size')::bigint), 0)::bigint FROM relations
