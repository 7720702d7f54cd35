UPDATE precos_propostos SET situacao = 'aplicado' WHERE lista = %(list)s AND situacao IN ('aplicar', 'aprovar')
