-- The active parts of tables: the blocks of each part, and the number of its last mutation, 0 for none.
SELECT
    table, partition_id, min_block_number, max_block_number,
    if(data_version > max_block_number, data_version, 0)
FROM system.parts
WHERE active AND database = {storage:String} AND table IN ({tables:Array(String)})
