-- The partitions of tables that are to be merged, those with the most parts first: FINAL compares the rows of parts that overlap.
WITH partitions AS (
    SELECT
        table, partition_id,
        count() AS parts,
        sum(rows) AS total,
        sum(rows) - max(rows) AS outside,
        sum(data_uncompressed_bytes) AS bytes,
        dateDiff('second', argMax(modification_time, rows), now()) AS age,
        parts > 1 AND total BETWEEN {small:UInt64} AND {largest:UInt64} AS overlaps
    FROM system.parts
    WHERE active AND database = {storage:String} AND table IN ({tables:Array(String)})
    GROUP BY table, partition_id
),
-- All that could be merged now, in bytes.
waiting AS (SELECT sum(bytes) AS bytes FROM partitions WHERE overlaps)
SELECT table, partition_id
FROM partitions
WHERE total <= {largest:UInt64}
    AND (
        parts > {most:UInt32}
        OR overlaps AND (
            outside * {share:UInt32} >= total
            -- The largest part is as old as the last merge.
            OR (age + 1) * {rate:UInt64} >= (SELECT bytes FROM waiting)
        )
    )
ORDER BY parts DESC, table, partition_id
