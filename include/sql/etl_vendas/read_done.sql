SELECT DISTINCT kind, tabela, inicio, fim, key_from, key_to
FROM vendas_raw.cargas
WHERE plan = {plan:UUID}
