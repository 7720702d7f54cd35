"""Every identifier of both servers is quoted here, and nowhere else.

PostgreSQL folds what is not quoted to lower case, and ClickHouse reads a backslash inside of quotes as an escape.
Neither quotes by position: a name goes through these, whatever it looks like.
"""

from __future__ import annotations

PG_BYTES = 63
"""How long a name can be in PostgreSQL, which cuts off the rest."""


def pg(*parts: str) -> str:
    """Return `parts` as one PostgreSQL identifier, such as `"filial"."Pedido"`."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def ch(*parts: str) -> str:
    """Return `parts` as one ClickHouse identifier, such as `filial`.`Pedido` with the quotes."""
    return ".".join("`" + part.replace("\\", "\\\\").replace("`", "\\`") + "`" for part in parts)


def pg_text(text: str) -> str:
    """Return `text` as a literal of PostgreSQL, whatever `standard_conforming_strings` is."""
    quoted = text.replace("'", "''")
    return f"E'{quoted}'".replace("\\", "\\\\") if "\\" in text else f"'{quoted}'"


def ch_text(text: str) -> str:
    """Return `text` as a literal of ClickHouse."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def is_misread(name: str) -> bool:
    """Return whether ClickHouse can't read its own text of an expression that begins with this column.

    It keeps the definitions of tables and views as text, in which it quotes a name only where it thinks that it has to.
    It does not for `not`, of all its keywords, and then takes it for the operator: the definition is lost with the next
    start. Behind a dot it is a name.
    """
    return name.lower() == "not"


def fits_ch(database: str, name: str) -> bool:
    """Return whether ClickHouse can have a table of that name: it becomes the name of a file.

    What is no letter of ASCII, digit or underscore is three letters there, byte by byte. Of a table that is being
    dropped the file's name also holds the database's, a UUID, two dots and `.sql`.
    """
    size = sum(1 if byte == ord("_") or (byte < 128 and chr(byte).isalnum()) else 3 for byte in name.encode())
    return size + len(database) <= 255 - len(".sql") - 38
