-- The partitions of tables that are to be merged, those with the most parts first: FINAL compares the rows of parts that overlap.
SELECT table, partition_id
FROM system.parts
WHERE active AND database = {storage:String} AND table IN ({tables:Array(String)})
GROUP BY table, partition_id
HAVING (count() > {most:UInt32} AND sum(rows) <= {largest:UInt64})
    OR (count() > 1 AND sum(rows) BETWEEN {small:UInt64} AND {soon:UInt64})
ORDER BY count() DESC, table, partition_id
