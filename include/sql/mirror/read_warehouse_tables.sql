-- All tables and views of the mirror's two databases, and how many seconds ago each definition changed.
SELECT
    database, name, engine, engine_full, partition_key, sorting_key, as_select, comment, ifNull(total_rows, 0),
    toUInt32(greatest(0, dateDiff('second', metadata_modification_time, now())))
FROM system.tables
WHERE database IN ({storage:String}, {views:String})
