"""Quotes identifiers and texts for both servers. All SQL of the mirror quotes with these functions.

PostgreSQL folds unquoted names to lower case. ClickHouse reads a backslash inside quotes as an escape. So every name is
quoted, whatever it looks like.
"""

from __future__ import annotations

PG_BYTES = 63
"""The longest name in PostgreSQL, in bytes; it cuts off the rest."""


def pg(*parts: str) -> str:
    """Return `parts` as one PostgreSQL identifier, such as `"filial"."Pedido"`."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def ch(*parts: str) -> str:
    """Return `parts` as one ClickHouse identifier, such as `filial`.`Pedido` with the quotes."""
    return ".".join("`" + part.replace("\\", "\\\\").replace("`", "\\`") + "`" for part in parts)


def pg_text(text: str) -> str:
    """Return `text` as a literal of PostgreSQL that is right for both values of `standard_conforming_strings`."""
    quoted = text.replace("'", "''")
    return f"E'{quoted}'".replace("\\", "\\\\") if "\\" in text else f"'{quoted}'"


def ch_text(text: str) -> str:
    """Return `text` as a literal of ClickHouse."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def is_misread(name: str) -> bool:
    """Return whether ClickHouse misreads its own text of an expression that begins with this column.

    ClickHouse stores the definitions of tables and views as text, and quotes only the names that seem to need it. The name
    `not` is not quoted, although it is a keyword. At the next start, ClickHouse reads it as the operator and can't load the
    definition. After a dot it is read as a name.
    """
    return name.lower() == "not"


def fits_ch(database: str, name: str) -> bool:
    """Return whether a name is short enough for a table in ClickHouse, which makes a file name of it.

    In a file name, each byte that is not an ASCII letter, a digit or an underscore takes three characters. While a table is
    being dropped, the file name also has the database's name, a UUID, two dots and `.sql`.
    """
    size = sum(1 if byte == ord("_") or (byte < 128 and chr(byte).isalnum()) else 3 for byte in name.encode())
    return size + len(database) <= 255 - len(".sql") - 38
