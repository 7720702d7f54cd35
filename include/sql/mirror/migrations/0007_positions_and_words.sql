{# How far the source had come when it was read: one that was restored from an older state is noticed. And a word for a table in
   which all that differs is on its way, with the number of these rows. #}
ALTER TABLE {{ own('cargas') }}
    ADD COLUMN IF NOT EXISTS `source_oid` UInt32 COMMENT 'the oid of that database; in this and the next three, 0 is not known'
        AFTER `source_timeline`,
    ADD COLUMN IF NOT EXISTS `source_flushed` UInt64 COMMENT 'the bytes of its log that were on disk when the snapshot was taken'
        AFTER `source_oid`,
    ADD COLUMN IF NOT EXISTS `source_next_xid` UInt64 COMMENT 'the transaction id that was next at its last checkpoint'
        AFTER `source_flushed`,
    ADD COLUMN IF NOT EXISTS `source_recovered` UInt64
        COMMENT 'where the recovery ended with which it came up, in bytes of the log; 0 where it needed none'
        AFTER `source_next_xid`
;
ALTER TABLE {{ own('reconciliacoes') }}
    ADD COLUMN IF NOT EXISTS `coming` UInt64
        COMMENT 'rows written after all that the mirror had moved, when it was not waited for any longer'
        AFTER `in_flight`,
    COMMENT COLUMN `word`
        'equal, repaired, follows where all that differs is coming, differs, or unknown where that could not be told'
;
CREATE OR REPLACE VIEW {{ shown('reconciliacoes') }} AS SELECT * FROM {{ own('reconciliacoes') }}
