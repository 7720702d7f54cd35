"""The declaration that a person writes: which tables of which PostgreSQL are mirrored into which ClickHouse.

    VENDAS = Mirror(
        name="vendas",
        source="postgres_vendas",          # Airflow connections
        warehouse="clickhouse_dw",
        storage="vendas_raw",              # ClickHouse databases
        views="vendas_dw",
        tables=[Table("pais"), Table("filial.Pedido", leave_out=["foto"])],    # or Schema("public")
    )

Nothing here asks a server, and creating a wrong declaration raises nothing: a DAG file that fails to load disappears from
Airflow's list, and nobody notices. `problems` lists what is wrong with a declaration by itself; the first task of a run
raises it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from include.mirror import names

WAYS = ("window", "scan", "copy")
"""How changes are found; see docs/architecture.md."""

DELETES = ("log", "keys", "keep")
"""How a declaration can ask for deleted rows to be handled; see docs/architecture.md."""

OWN_NAMES = ("cargas", "cargas_planejadas", "estado", "estados", "migracoes", "reconciliacoes")
"""Names that the mirror itself uses, in the databases `storage` and `views`."""

STAGE_PREFIX = "stage__"
"""The prefix of the mirror's temporary tables."""

_PART = r'"(?:[^"]|"")+"|[^".]+'
_QUALIFIED = re.compile(rf"(?:(?P<schema>{_PART})\.)?(?P<name>{_PART})", re.DOTALL)
_DATABASE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAME = re.compile(r"[A-Za-z0-9_]+")


def split_name(text: str) -> tuple[str | None, str] | None:
    """Return (schema, name) of a text such as `esquema.Tabela`; the schema is None if not given. None for other texts.

    Upper case is kept, as if quoted: `Pedido` is the table "Pedido". A name that contains a dot or a double quote is
    written in quotes, as in SQL: `public."a.b"`.
    """
    match = _QUALIFIED.fullmatch(text)
    if match is None:
        return None
    schema, name = (
        part[1:-1].replace('""', '"') if part and part.startswith('"') else part
        for part in (match["schema"], match["name"])
    )
    return schema, name or ""


def _tuple(columns: str | Sequence[str] | None) -> tuple[str, ...] | None:
    if columns is None:
        return None
    return (columns,) if isinstance(columns, str) else tuple(columns)


@dataclass(frozen=True)
class Table:
    """One table, view or foreign table by its name in PostgreSQL, `"pais"` or `"esquema.Tabela"`.

    All other fields have a default, which is taken from the source's catalog:

    - `key`: the columns that identify a row.
    - `change_column`: the column that windows select by.
    - `way`: how changes are found, one of WAYS.
    - `partition_width`: how many values of an integer key share a partition in the warehouse; 0 for a single partition.
    - `columns`: ClickHouse types of columns, by name. `leave_out`: columns that are not mirrored.
    - `only`: True to leave out the rows of inheriting tables.
    - `to`: the table's name in the warehouse.
    - `deletes`: "log" to require a delete log in the source; "keys" to compare all keys in each run, however many there
      are; "keep" to keep deleted rows.
    - `order_by`: the columns by which the warehouse's table is sorted, the key's among them.
    """

    name: str
    columns: Mapping[str, str] = field(default_factory=dict)
    leave_out: Sequence[str] = ()
    key: str | Sequence[str] | None = None
    change_column: str | None = None
    way: str | None = None
    partition_width: int | None = None
    only: bool = False
    to: str | None = None
    deletes: str | None = None
    order_by: str | Sequence[str] | None = None

    @property
    def qualified(self) -> tuple[str, str]:
        """(schema, name), with the schema `public` if none was given."""
        schema, name = split_name(self.name) or (None, self.name)
        return schema or "public", name

    @property
    def key_columns(self) -> tuple[str, ...] | None:
        """The declared key as a tuple, None if none is declared."""
        return _tuple(self.key)

    @property
    def order_columns(self) -> tuple[str, ...] | None:
        """The declared `order_by` as a tuple, None if none is declared."""
        return _tuple(self.order_by)


@dataclass(frozen=True)
class Schema:
    """All ordinary and partitioned tables of one schema, also those that are created later.

    `leave_out` names tables that are not mirrored. `tables` declares details of some tables. Views and foreign tables are
    mirrored only if they are named there.
    """

    name: str = "public"
    leave_out: Sequence[str] = ()
    tables: Sequence[Table] = ()


@dataclass(frozen=True)
class Mirror:
    """One PostgreSQL database and its copy. `source` and `warehouse` are Airflow connections.

    `storage` is the ClickHouse database with all versions of the rows and the ledger. `views` is the one that people query:
    its views show the current rows.
    """

    name: str
    source: str
    warehouse: str
    storage: str
    views: str
    tables: Sequence[Table] | Schema

    @property
    def label(self) -> str:
        """The mirror's name with other characters than letters and digits replaced by `_`. DAG ids contain it."""
        return re.sub(r"[^A-Za-z0-9_]", "_", str(self.name)) or "_"

    @property
    def declared(self) -> Sequence[Table]:
        """The named tables. Objects that are not a valid `Table` are left out; `problems` lists them."""
        listed = self.tables.tables if isinstance(self.tables, Schema) else self.tables
        if not _is_list(listed):
            return []
        return [table for table in listed if isinstance(table, Table) and isinstance(table.name, str)]

    @property
    def schema(self) -> Schema | None:
        """The schema that is mirrored as a whole, None if tables are listed."""
        return self.tables if isinstance(self.tables, Schema) else None

    def qualified(self, table: Table) -> tuple[str, str]:
        """Return (schema, name) of a declared table. Without a schema, that is the mirrored Schema's, or `public`."""
        schema, name = split_name(table.name) or (None, table.name)
        return schema or (self.schema.name if self.schema else "public"), name

    def name_in_warehouse(self, schema: str, name: str, to: str | None = None) -> str:
        """Return the name of a source table in the warehouse, in the ledger and in conf.

        That is the table's own name. The schema is put in front if it is not the mirrored one (`public` if tables are
        listed), or if the mirror itself uses the name: `filial_pedido`, `public_cargas`.
        """
        if to is not None:
            return str(to)
        home = self.schema.name if self.schema else "public"
        taken = name in OWN_NAMES or name.startswith(STAGE_PREFIX)
        return f"{schema}_{name}" if taken or schema != home else name

    def fits(self, name: str) -> bool:
        """Return whether a name is short enough for both of the mirror's databases in the warehouse."""
        return all(names.fits_ch(database, name) for database in (self.storage, self.views))

    @property
    def names(self) -> tuple[str, ...]:
        """The declared tables' names in the warehouse, in the declared order."""
        return tuple(self.name_in_warehouse(*self.qualified(table), table.to) for table in self.declared)


def problems(mirror: Mirror) -> list[str]:
    """Return what is wrong with a declaration by itself. Each problem is one sentence with what would be right."""
    return general_problems(mirror) + [text for texts in table_problems(mirror).values() for text in texts]


def general_problems(mirror: Mirror) -> list[str]:
    """Return what is wrong with a declaration as a whole."""
    if found := _wrong_types(mirror):
        return found
    if not _NAME.fullmatch(mirror.name):
        found.append(
            f"name is {mirror.name!r}; it must be letters, digits and _, because the DAG and its settings are called "
            "after it"
        )
    for what in ("storage", "views"):
        if not _DATABASE.fullmatch(value := getattr(mirror, what)):
            found.append(f"{what} is {value!r}; it must be letters, digits and _, and begin with no digit")
    if mirror.storage == mirror.views:
        found.append(f"storage and views are both {mirror.storage!r}; give two databases")
    if not mirror.declared and mirror.schema is None:
        found.append('tables is empty; name some, such as [Table("pais")], or give Schema("public")')
    return found


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


_TEXT = ("a text", lambda value: isinstance(value, str))
_MAYBE = ("a text or None", lambda value: value is None or isinstance(value, str))
_TEXTS = (
    'a list of texts, such as ["foto"]',
    lambda value: _is_list(value) and all(isinstance(one, str) for one in value),
)
_KEY = (
    'a text, or a list of texts such as ["pedido", "linha"]',
    lambda value: value is None or isinstance(value, str) or _TEXTS[1](value),
)
_TYPES = (
    'ClickHouse types by columns, such as {"uf": "LowCardinality(String)"}',
    lambda value: (
        isinstance(value, Mapping) and all(isinstance(one, str) for one in (*value, *value.values()))
    ),
)
_WIDTH = (
    "a whole number of keys",
    lambda value: value is None or (isinstance(value, int) and not isinstance(value, bool)),
)
_BOOL = ("True or False", lambda value: isinstance(value, bool))
_TABLES = (
    'a list of tables, such as [Table("pais")]',
    lambda value: (
        _is_list(value) and all(isinstance(one, Table) and isinstance(one.name, str) for one in value)
    ),
)
_TABLES_OR_SCHEMA = (
    f'{_TABLES[0]}, or Schema("public")',
    lambda value: isinstance(value, Schema) or _TABLES[1](value),
)
_SHAPES: Mapping[type, Mapping[str, tuple[str, Callable[[Any], bool]]]] = {
    Mirror: {
        **dict.fromkeys(("name", "source", "warehouse", "storage", "views"), _TEXT),
        "tables": _TABLES_OR_SCHEMA,
    },
    Schema: {"name": _TEXT, "leave_out": _TEXTS, "tables": _TABLES},
    Table: {
        "name": _TEXT,
        "columns": _TYPES,
        "leave_out": _TEXTS,
        "key": _KEY,
        "change_column": _MAYBE,
        "way": _MAYBE,
        "partition_width": _WIDTH,
        "only": _BOOL,
        "to": _MAYBE,
        "deletes": _MAYBE,
        "order_by": _KEY,
    },
}
"""The type of each field of a declaration, as words for messages and as a check."""


def _wrong_types(part: object, where: str = "") -> list[str]:
    """Return the fields whose values have a wrong type. Wrong types in a table are not included: see `table_problems`."""
    found = []
    for name, (right, fits) in _SHAPES[type(part)].items():
        value = getattr(part, name)
        if not fits(value):
            found.append(f"{where}{name} is {value!r}; it must be {right}")
        elif isinstance(value, Schema):
            found += _wrong_types(value, "the schema's ")
    return found


def table_problems(mirror: Mirror) -> dict[str, list[str]]:
    """Return what is wrong with the declaration of single tables, by the tables' names in the warehouse."""
    found: dict[str, list[str]] = {}
    for table, name in zip(mirror.declared, mirror.names, strict=True):
        found.setdefault(name, []).extend(_problems(table))
    places = [mirror.qualified(table) for table in mirror.declared]
    for place in dict.fromkeys(place for place in places if places.count(place) > 1):
        name = mirror.names[places.index(place)]
        found[name].append(f"table {'.'.join(place)} is declared more than once; keep one of them")
    for name in _repeated(mirror.names):
        found[name].append(
            f'two tables would both be called {name} in the warehouse; give one another name: Table(…, to="…")'
        )
    return {name: texts for name, texts in found.items() if texts}


def _problems(table: Table) -> list[str]:
    if found := _wrong_types(table, f"table {table.name}: "):
        return found
    if split_name(table.name) is None:
        found.append(
            f'{table.name!r} is not the name of a table; write "tabela" or "esquema.tabela", and a name that holds a dot '
            'or a quote as in SQL: "esquema.\\"a.b\\""'
        )
    if table.way is not None and table.way not in WAYS:
        found.append(f"table {table.name}: way is {table.way!r}; it must be one of {', '.join(WAYS)}")
    if table.deletes is not None and table.deletes not in DELETES:
        found.append(
            f"table {table.name}: deletes is {table.deletes!r}; it must be one of {', '.join(DELETES)}"
        )
    if table.deletes is not None and table.way == "copy":
        found.append(
            f"table {table.name}: deletes is {table.deletes!r}, and a copy finds deleted rows by itself; leave deletes out"
        )
    if table.change_column is not None and table.way not in (None, "window"):
        found.append(
            f"table {table.name}: change_column {table.change_column!r} is for windows, and way is {table.way!r}; "
            "leave one of both out"
        )
    if table.key_columns is not None and not table.key_columns:
        found.append(f"table {table.name}: key is empty; name the columns that tell its rows apart")
    found += _order_problems(table)
    if table.partition_width is not None and table.partition_width < 0:
        found.append(
            f"table {table.name}: partition_width is {table.partition_width}; it must be a number of keys, or 0"
        )
    needed = set(table.key_columns or ()) | ({table.change_column} if table.change_column else set())
    if missing := sorted(needed & set(table.leave_out)):
        found.append(f"table {table.name}: {missing[0]} is left out, and is its key or change column")
    if missing := sorted(set(table.order_columns or ()) & set(table.leave_out)):
        found.append(f"table {table.name}: {missing[0]} is left out, and order_by names it; keep one of both")
    if both := sorted(set(table.columns) & set(table.leave_out)):
        found.append(f"table {table.name}: {both[0]} is left out and has a type; keep one of both")
    if table.to is not None and (table.to in OWN_NAMES or table.to.startswith(STAGE_PREFIX) or not table.to):
        found.append(
            f"table {table.name}: to is {table.to!r}, which the mirror itself uses; choose another name"
        )
    return found


def _order_problems(table: Table) -> list[str]:
    order, key = table.order_columns, table.key_columns or ()
    if order is None:
        return []
    if not order:
        return [f"table {table.name}: order_by is empty; name columns to sort by, or leave it out"]
    if twice := _repeated(order):
        return [f"table {table.name}: order_by names {twice[0]} twice; name each column once"]
    if missing := [name for name in key if name not in order]:
        return [
            f"table {table.name}: order_by lacks {', '.join(missing)} of the key, without which two rows could become one; "
            f"write order_by={(*order, *missing)!r}"
        ]
    return []


def _repeated(names: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    repeated = []
    for name in names:
        if name in seen and name not in repeated:
            repeated.append(name)
        seen.add(name)
    return repeated
