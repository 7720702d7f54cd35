CREATE OR REPLACE VIEW {{ view }} AS
SELECT
    tabela, kind, inicio, fim, key_from, key_to, rows, money, version,
    length(open_sessions) + arrayCount(p -> isNotNull(p.since), prepared) AS open_transactions,
    run_id, try_number, started_at, finished_at, reason, built
FROM {{ ledger }}
WHERE kind != 'begin'
