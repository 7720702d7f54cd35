{# The source that the newest read came from; 0 where there was none. #}
SELECT ifNull(argMax(source_system, version), 0), ifNull(argMax(source_database, version), '')
FROM {{ ledger }}
WHERE source_system > 0
