UPDATE listas_precos SET aplicada_em = CURRENT_TIMESTAMP(6), decisao = %(decision)s, decidida_por = %(by)s
WHERE lista = %(list)s
