{# What the ledger needs for tables that are scanned or copied, for builds and for sources that change. #}
ALTER TABLE {{ own('cargas') }}
    ADD COLUMN IF NOT EXISTS `reason` String COMMENT 'why the table is read in this way, read again, or set aside',
    ADD COLUMN IF NOT EXISTS `seen` Array(UInt64)
        COMMENT 'of a scan: transaction ids from snapshot_xmin on whose rows it had read',
    ADD COLUMN IF NOT EXISTS `source_database` LowCardinality(String) COMMENT 'the database of that cluster'
        AFTER `source_system`,
    ADD COLUMN IF NOT EXISTS `source_timeline` UInt32
        COMMENT 'the timeline of that cluster: ids of another one can not be compared; 0 is not known'
        AFTER `source_database`,
    ADD COLUMN IF NOT EXISTS `parts` Array(Tuple(partition String, low Int64, high Int64, mutation Int64))
        COMMENT 'the parts of the table when its rows were published: blocks from low to high, changed by mutation',
    ADD COLUMN IF NOT EXISTS `built` UInt64
        COMMENT 'the snapshot that the table was built anew from which the rows went into; 0 for one that never was',
    MODIFY COLUMN `money` Map(LowCardinality(String), Decimal(76, 38))
        COMMENT 'exact sum per decimal column of up to 18 digits',
    COMMENT COLUMN `kind` 'what was read, or noted; docs/operations.md lists the kinds',
    COMMENT COLUMN `fim` 'of a scan or a copy: when its snapshot was taken'
