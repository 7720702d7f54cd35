DELETE FROM precos_propostos WHERE lista = %(list)s
