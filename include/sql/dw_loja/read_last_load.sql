SELECT carga FROM cargas WHERE tabela = %s ORDER BY ordem DESC LIMIT 1
