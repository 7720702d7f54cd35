{# For each table, the newest scan before a moment. A scan counts only if it read all rows (inicio is the epoch) or goes on
   from a scan after the last `forget`. So a scan that was planned before the `forget` does not count, even if it was moved
   after it. #}
SELECT
    tabela, max(fim), argMax(snapshot_xmin, version),
    argMax(if(source_timeline IN (0, {timeline:UInt32}), source_system, 0), version), argMax(seen, version)
FROM {{ ledger }}
WHERE kind = 'scan' AND {% include 'valid.sql' %}
  AND (toUnixTimestamp64Micro(inicio) = 0 OR toUnixTimestamp64Micro(inicio) > until) AND fim <= {before:DateTime64(6, 'UTC')}
GROUP BY tabela
