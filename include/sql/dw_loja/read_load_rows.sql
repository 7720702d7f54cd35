SELECT linhas FROM cargas WHERE carga = %s AND tabela = %s ORDER BY ordem DESC LIMIT 1
