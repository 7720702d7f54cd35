{# One row that was written before its partition, or a partition above it, was attached. The ids of both transactions are
   compared modulo 2^32, as PostgreSQL does. #}
SELECT 1
FROM ONLY {{ partition }} AS stored
WHERE EXISTS (
    SELECT FROM pg_inherits AS link
    WHERE link.inhrelid IN (SELECT relid FROM pg_partition_ancestors($1::oid))
      AND ((stored.xmin::text::bigint - link.xmin::text::bigint) & 4294967295) >= 2147483648
)
LIMIT 1
