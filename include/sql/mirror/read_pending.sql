{# The owed ledger rows: they note a transaction that may still write into their window, and no re-read settles them. #}
SELECT id, tabela, inicio, fim, key_from, key_to, snapshot_xmin,
    if(source_timeline IN (0, {timeline:UInt32}), source_system, 0), open_sessions, prepared
FROM {{ ledger }}
WHERE (notEmpty(open_sessions) OR arrayExists(p -> isNotNull(p.since), prepared))
  AND {% include 'valid.sql' %}
  AND id NOT IN (SELECT arrayJoin(settles) FROM {{ ledger }})
