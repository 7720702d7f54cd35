UPDATE precos_propostos SET situacao = 'recusado'
WHERE lista = %(list)s AND situacao = 'aprovar' AND NOT %(approved)s
