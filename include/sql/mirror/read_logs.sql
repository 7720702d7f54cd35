{# Per table, the newest reading of its log of deleted keys, and the newest of those that were taken before a moment. #}
SELECT
    tabela, max(version), argMax(snapshot_xmin, version),
    argMax(if(source_timeline IN (0, {timeline:UInt32}), source_system, 0), version), argMax(log, version),
    fim <= {kept:DateTime64(6, 'UTC')} AS is_old
FROM {{ ledger }}
WHERE kind = 'log' AND {% include 'valid.sql' %}
GROUP BY tabela, is_old
