SELECT situacao, COUNT(*) AS n FROM precos_propostos WHERE lista = %(list)s GROUP BY situacao
