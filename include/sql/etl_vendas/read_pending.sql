-- What is owed: rows that noted a transaction which may write into their window, and that no re-read settles.
SELECT id, tabela, inicio, fim, key_from, key_to, snapshot_xmin, source_system, open_sessions, prepared
FROM vendas_raw.cargas
WHERE (notEmpty(open_sessions) OR arrayExists(p -> isNotNull(p.since), prepared))
  AND id NOT IN (SELECT arrayJoin(settles) FROM vendas_raw.cargas)
