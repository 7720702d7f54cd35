-- The rows in storage, with all versions of a row and the tombstones: an upper bound, from metadata alone.
SELECT table, sum(rows) AS stored
FROM system.parts
WHERE database = {storage:String} AND active
GROUP BY table
