-- The columns of all tables and views of the mirror's two databases, in order.
SELECT database, table, name, type, comment
FROM system.columns
WHERE database IN ({storage:String}, {views:String})
ORDER BY database, table, position
