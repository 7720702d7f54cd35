{# The owed ledger rows: they note a transaction that may still write into their window, and no re-read settles them. #}
SELECT id, tabela, inicio, fim, key_from, key_to, snapshot_xmin,
    if(source_timeline IN (0, {timeline:UInt32}), source_system, 0), open_sessions, prepared
FROM {{ ledger }} AS carga
LEFT JOIN (SELECT tabela, max(version) AS until FROM {{ ledger }} WHERE kind = 'forget' GROUP BY tabela) AS forgotten
    USING (tabela)
WHERE (notEmpty(open_sessions) OR arrayExists(p -> isNotNull(p.since), prepared))
  AND version > ifNull(until, 0)
  AND built = {built:Array(UInt64)}[indexOf({rebuilt:Array(String)}, tabela)]
  AND id NOT IN (SELECT arrayJoin(settles) FROM {{ ledger }})
