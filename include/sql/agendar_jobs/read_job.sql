SELECT * FROM jobs WHERE name = %(name)s
