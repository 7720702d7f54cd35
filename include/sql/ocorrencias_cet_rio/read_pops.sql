SELECT pop_id, titulo, responsavel, orgaos, consultado_em
FROM pop FINAL
