{# The source that was read or accepted last. Fields that were not noted are empty or 0. #}
SELECT
    source_system, source_database, source_oid, source_flushed, source_timeline, source_next_xid, source_recovered
FROM {{ ledger }}
WHERE source_system > 0
ORDER BY version DESC
LIMIT 1
