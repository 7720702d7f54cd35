SELECT carga, versao FROM cargas WHERE tabela = %s AND completa AND versao > CAST(%s AS TIMESTAMP) ORDER BY versao DESC LIMIT 1
