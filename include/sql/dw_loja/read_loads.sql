SELECT desde, ate, completa FROM cargas WHERE tabela = %s ORDER BY ordem
