CREATE VIEW IF NOT EXISTS vendas_dw.cargas AS
SELECT
    tabela, kind, inicio, fim, key_from, key_to, rows, money, version,
    length(open_sessions) + arrayCount(p -> isNotNull(p.since), prepared) AS open_transactions,
    run_id, try_number, started_at, finished_at
FROM vendas_raw.cargas
