SELECT max(version) FROM vendas_raw.cargas
