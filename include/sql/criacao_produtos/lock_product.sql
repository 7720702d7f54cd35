SELECT produto_id FROM produtos WHERE produto_id = %(produto_id)s FOR UPDATE
