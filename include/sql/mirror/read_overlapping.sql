-- The partitions of tables that are to be merged, those with the most parts first: FINAL compares the rows of parts that overlap.
SELECT table, partition_id
FROM system.parts
WHERE active AND database = {storage:String} AND table IN ({tables:Array(String)})
GROUP BY table, partition_id
HAVING sum(rows) <= {largest:UInt64}
    AND (
        count() > {most:UInt32}
        OR (
            count() > 1
            AND sum(rows) >= {small:UInt64}
            AND (sum(rows) <= {soon:UInt64} OR (sum(rows) - max(rows)) * {share:UInt32} >= sum(rows))
        )
    )
ORDER BY count() DESC, table, partition_id
