SELECT lista, aplicada_em FROM listas_precos WHERE lista = %(list)s FOR UPDATE
