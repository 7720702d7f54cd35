-- Every table and view of the mirror's two databases, with its columns in order, and how many seconds ago its definition changed.
SELECT
    database, name, engine, engine_full, partition_key, sorting_key, as_select, comment, ifNull(total_rows, 0),
    toUInt32(greatest(0, dateDiff('second', metadata_modification_time, now()))), columns
FROM system.tables
LEFT JOIN
(
    SELECT database, table AS name, groupArray((column, type, comment)) AS columns
    FROM
    (
        SELECT database, table, name AS column, type, comment
        FROM system.columns
        WHERE database IN ({storage:String}, {views:String})
        ORDER BY database, table, position
    )
    GROUP BY database, name
) AS described USING (database, name)
WHERE database IN ({storage:String}, {views:String})
