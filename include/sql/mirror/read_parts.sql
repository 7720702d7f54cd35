-- The active parts of tables: which blocks each holds, and the mutation that changed it last, 0 for none.
SELECT
    table, partition_id, min_block_number, max_block_number,
    if(data_version > max_block_number, data_version, 0)
FROM system.parts
WHERE active AND database = {storage:String} AND table IN ({tables:Array(String)})
