"""Tables of every shape, and the statements that fill and change them. Mixed schemas and random tables are made of these.

Rows are numbered. Every value is an SQL expression of its row's number and of a turn. So PostgreSQL computes the values, and
a row that is changed in another turn gets other values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from include.mirror.declaration import Table
from include.mirror.names import pg, pg_text
from tests.versions import postgres_major

Expression = Callable[[str], str]
"""Returns the SQL expression of a value, given the expression of the row's number."""

COMPUTED = "VIRTUAL" if postgres_major() >= 18 else "STORED"
"""How a generated column is kept: PostgreSQL computes it only when it is read, since 18."""
TYPES_OF_THEIR_OWN = """
CREATE SCHEMA ext;
CREATE TYPE ext.humor AS ENUM ('triste', 'feliz "é"', '', 'NULL');
CREATE DOMAIN ext.moeda AS numeric(12, 3) CHECK (VALUE > -1000000);
CREATE TYPE ext.endereco AS (rua text, numero int, desde timestamptz);
CREATE TYPE ext.faixa AS RANGE (subtype = numeric);
CREATE TYPE ext.citext;
CREATE FUNCTION ext.citextin(cstring) RETURNS ext.citext LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION ext.citextout(ext.citext) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE TYPE ext.citext (INPUT = ext.citextin, OUTPUT = ext.citextout, LIKE = text, COLLATABLE = true);
CREATE CAST (ext.citext AS text) WITHOUT FUNCTION AS IMPLICIT;
CREATE TYPE ext.hstore;
CREATE FUNCTION ext.hstorein(cstring) RETURNS ext.hstore LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION ext.hstoreout(ext.hstore) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE TYPE ext.hstore (INPUT = ext.hstorein, OUTPUT = ext.hstoreout, LIKE = text);
CREATE TYPE ext.coisa;
CREATE FUNCTION ext.coisain(cstring) RETURNS ext.coisa LANGUAGE internal IMMUTABLE STRICT AS 'int4in';
CREATE FUNCTION ext.coisaout(ext.coisa) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'int4out';
CREATE TYPE ext.coisa (INPUT = ext.coisain, OUTPUT = ext.coisaout, LIKE = int4);
"""
"""Types that somebody created. PostgreSQL's own citext and hstore are in a package that the tests' server lacks."""

VALUES: dict[str, Sequence[str]] = {
    "smallint": ["-32768", "32767", "0"],
    "integer": ["-2147483648", "2147483647", "0"],
    "bigint": ["-9223372036854775808", "9223372036854775807", "0"],
    "oid": ["0", "4294967295"],
    "boolean": ["true", "false"],
    "real": ["NaN", "-Infinity", "-0", "1.1", "1e-45"],
    "double precision": ["NaN", "Infinity", "-0", "0.1", "5e-324"],
    "numeric(10,2)": ["99999999.99", "-99999999.99", "0.01"],
    "numeric(18,8)": ["9500000", "9500000.00000001", "-9999999999.99999999"],
    "numeric(38,10)": ["9999999999999999999999999999.9999999999", "-0.0000000001"],
    "numeric(76,38)": [f"-{'9' * 38}.{'9' * 38}", "1e37"],
    # Since PostgreSQL 15, the scale may be below zero or above the precision.
    **(
        {"numeric(2,-3)": ["99000", "-99000"], "numeric(3,5)": ["0.00999", "-0.00999"]}
        if postgres_major() >= 15
        else {}
    ),
    "numeric(100,2)": ["NaN", "1e97"],
    "numeric": ["7", "7.40", "NaN", "-Infinity", "1e100"],
    "money": ["92233720368547758.07", "-0.01"],
    "text": ["", "NULL", "\\N", "a\tb\nc\\", "ação 😀 'q' \"d\" `c` %s {x:String}"],
    "varchar(10)": ["", "é", "😀 x"],
    "character(5)": ["ab", "", "    "],
    "name": ["x", ""],
    '"char"': ["x", "y"],
    "bytea": ["", "\\x00", "\\xff00ff27"],
    "uuid": ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"],
    "date": ["1900-01-01", "2299-12-31", "1969-12-31"],
    "timestamp": ["1900-01-01", "2299-12-31 23:59:59.999999", "1969-12-31 23:59:59.999999"],
    "timestamp(0)": ["2026-03-08 02:30", "1970-01-01 00:00:01"],
    "timestamptz": ["1900-01-01 00:00+00", "2299-12-31 23:59:59.999999+00", "2026-01-01 10:00-03"],
    "time": ["00:00", "23:59:59.999999", "24:00:00"],
    "timetz": ["24:00:00+15:59", "12:34:56.7-03"],
    "interval": ["1 year -2 mons 3 days -04:05:06.7", "0"],
    "json": ['{"b": 1,  "a": [1.10, null], "b": 2}', "null"],
    "jsonb": ['{"b": 1,  "a": [1.10, null], "b": 2}', "null"],
    "jsonpath": ['$."a"[*] ? (@ > 1)'],
    # The tests' server was built without libxml: an xml column can hold only NULL.
    "xml": [],
    "inet": ["10.0.0.1", "::1/64"],
    "cidr": ["10.0.0.0/8"],
    "macaddr": ["08:00:2b:01:02:03"],
    "macaddr8": ["08:00:2b:01:02:03:04:05"],
    "bit(3)": ["101", "000"],
    "bit varying(5)": ["10101", ""],
    "tsvector": ["a:1 'b c'"],
    "tsquery": ["a & !b"],
    "point": ["(0.1,NaN)"],
    "line": ["{1,2,3}"],
    "lseg": ["[(0,0),(1,1)]"],
    "box": ["(1,1),(0,0)"],
    "path": ["((0,0),(1,1))"],
    "polygon": ["((0,0),(1,1),(1,0))"],
    "circle": ["<(0,0),1>"],
    "pg_lsn": ["16/B374D848"],
    "pg_snapshot": ["10:20:10,14"],
    "txid_snapshot": ["10:20:10,14"],
    "xid": ["4294967295"],
    "xid8": ["18446744073709551615"],
    "cid": ["1"],
    "tid": ["(1,2)"],
    "int2vector": ["1 2"],
    "oidvector": ["1 2"],
    "int4range": ["[1,5)", "empty"],
    "tstzrange": ["[2026-01-01 00:00+00,infinity)"],
    "int4multirange": ["{[1,5),[7,8)}"],
    "ext.humor": ["triste", 'feliz "é"', "", "NULL"],
    "ext.moeda": ["1.100", "-0.001"],
    "ext.endereco": ['("a ""b""",1,"2026-01-01 00:00:00+00")', "(,,)"],
    "ext.faixa": ["[1.10,2)"],
    "ext.citext": ["Ab", "aB"],
    "ext.hstore": ['"a"=>"1"'],
    "ext.coisa": ["12", "-1"],
    "integer[]": ["{}", "{1,NULL,-2147483648}"],
    "text[]": ["{}", '{"a,b",NULL,"NULL","\\"","\\\\",""," "}'],
    "numeric(10,2)[]": ["{1.10,NULL}"],
    "numeric(38,10)[]": ["{1.1,NULL}"],
    "timestamptz[]": ['{"2026-01-01 00:00+00",NULL}'],
    "date[]": ["{1900-01-01,NULL}"],
    "double precision[]": ["{NaN,-0,NULL,0.1}"],
    "uuid[]": ["{ffffffff-ffff-ffff-ffff-ffffffffffff,NULL}"],
    "bytea[]": ['{"\\\\x00ff",NULL}'],
    "boolean[]": ["{t,f,NULL}"],
    "tstzrange[]": ['{"[2026-01-01 00:00+00,)",NULL}'],
    "ext.humor[]": ['{triste,NULL,""}'],
    "ext.moeda[]": ["{1.5,NULL}"],
}
"""Values of each type, as SQL that PostgreSQL reads. NULL is one more value for types that can be NULL."""


def takes_null(declared: str) -> bool:
    """Return whether a column of this type can be NULL: an array of ClickHouse can't."""
    return not declared.endswith("[]")


def value(declared: str, number: str, turn: int) -> str:
    """Return one of the type's values for a row's number. If there are several, it is another one in each turn."""
    literals = [pg_text(text) for text in VALUES[declared]]
    if takes_null(declared):
        literals.append("NULL")
    choice = f"1 + (({number}) + {turn}) % {len(literals)}"
    return f"((ARRAY[{', '.join(literals)}]::text[])[{choice}])::{declared}"


@dataclass(frozen=True)
class Key:
    """The columns of a key: each column's type and value. As a whole, no two rows have the same values."""

    types: Sequence[str]
    values: Sequence[Expression] = field(repr=False)


def _uuid(n: str) -> str:
    return f"md5(({n})::text)::uuid"


def _day(n: str) -> str:
    return f"DATE '1969-12-01' + ({n})::int"


def _text(n: str) -> str:
    return f"'çh % ' || chr(65 + ({n})::int % 26) || ({n})::text"


KEYS = {
    "smallint": Key(["smallint"], [lambda n: f"(32767 - ({n}))::int2"]),
    "integer": Key(["integer"], [lambda n: f"({n})::int"]),
    "negative": Key(["integer"], [lambda n: f"(-2147483648 + 3 * ({n}))::int"]),
    "bigint": Key(["bigint"], [lambda n: f"({n})::int8"]),
    "sparse": Key(["bigint"], [lambda n: f"-9223372036854775808 + 4000000000 * ({n})::int8"]),
    "uuid": Key(["uuid"], [_uuid]),
    "text": Key(["text"], [_text]),
    "varchar": Key(["varchar(40)"], [_text]),
    "char": Key(["character(5)"], [lambda n: f"chr(97 + ({n})::int % 26) || ({n})::text"]),
    "bytea": Key(["bytea"], [lambda n: f"int8send(({n})::int8)"]),
    "numeric": Key(["numeric"], [lambda n: f"7 + ({n}) * 0.4"]),
    "numeric(10,2)": Key(["numeric(10,2)"], [lambda n: f"({n}) * -0.01"]),
    "numeric(38,10)": Key(["numeric(38,10)"], [lambda n: f"({n}) * 1e20 + 0.0000000001"]),
    "money": Key(["money"], [lambda n: f"(({n}) * 0.01)::numeric::money"]),
    "date": Key(["date"], [_day]),
    "timestamp": Key(
        ["timestamp"], [lambda n: f"TIMESTAMP '1969-12-31 23:59:59.999990' + ({n}) * '1us'::interval"]
    ),
    "timestamptz": Key(
        ["timestamptz"], [lambda n: f"TIMESTAMPTZ '2026-01-01 00:00-03' + ({n}) * '1s'::interval"]
    ),
    "time": Key(["time"], [lambda n: f"TIME '24:00' - ({n}) * '1us'::interval * sign({n})"]),
    "interval": Key(["interval"], [lambda n: f"({n}) * '1 day 1us'::interval"]),
    "real": Key(["real"], [lambda n: f"(1.1 * ({n}))::float4"]),
    "double": Key(["double precision"], [lambda n: f"0.1::float8 * ({n})"]),
    "inet": Key(["inet"], [lambda n: f"inet '10.0.0.0' + ({n})::int8"]),
    "range": Key(["int4range"], [lambda n: f"int4range(({n})::int, ({n})::int + 1)"]),
    "jsonb": Key(["jsonb"], [lambda n: f"jsonb_build_object('a', ({n}))"]),
    "array": Key(["integer[]"], [lambda n: f"ARRAY[({n})::int, NULL]"]),
    "oid": Key(["oid"], [lambda n: f"(4294967295 - ({n})::int8)::oid"]),
    "bits": Key(["bit(16)"], [lambda n: f"({n})::int::bit(16)"]),
    "domain": Key(["ext.moeda"], [lambda n: f"(({n}) * 0.001)::ext.moeda"]),
    "enum": Key(
        ["ext.humor", "integer"],
        [lambda n: f"(enum_range(NULL::ext.humor))[1 + ({n})::int % 4]", lambda n: f"({n})::int / 4"],
    ),
    "boolean": Key(["boolean", "integer"], [lambda n: f"({n})::int % 2 = 0", lambda n: f"({n})::int / 2"]),
    "composite": Key(
        ["uuid", "text", "date"], [_uuid, lambda n: f"chr(({n})::int % 3 + 97)", lambda n: f"{_day(n)}"]
    ),
    "two integers": Key(
        ["integer", "smallint"], [lambda n: f"({n})::int / 5", lambda n: f"(({n})::int % 5)::int2"]
    ),
    "of a partition": Key(
        ["integer", "date"], [lambda n: f"({n})::int", lambda n: f"DATE '2026-01-01' + ({n})::int % 50"]
    ),
}


def together(*kinds: str) -> Key:
    """Return a key with the columns of several keys."""
    keys = [KEYS[kind] for kind in kinds]
    return Key([kind for key in keys for kind in key.types], [make for key in keys for make in key.values])


CHANGE_TYPES = ("timestamp", "timestamptz", "timestamp(0)", "timestamp(3)", "timestamptz(1)")


@dataclass(frozen=True)
class Shape:
    """A table: its name, the names of its key's columns and the key, its other columns by name, and how it is mirrored.

    `change` is the name and type of a column that the database sets at each write and that has an index. `way` is declared
    if the catalog would lead to another one. A `partitioned` table is partitioned by the last column of its key, a date.
    With `view`, the mirrored relation is a view; its table has the same name with `_` at the end.
    """

    name: str
    key_names: Sequence[str]
    key: Key
    columns: dict[str, str]
    schema: str = "public"
    change: tuple[str, str] | None = None
    way: str | None = None
    partitioned: bool = False
    view: bool = False
    options: dict[str, object] = field(default_factory=dict)

    @property
    def sql(self) -> str:
        """The quoted name of the table that is written to; with `view`, that is not the mirrored view."""
        return pg(self.schema, self.name + "_" if self.view else self.name)

    @property
    def declared(self) -> Table:
        """The shape's declaration."""
        options = dict(self.options)
        if self.way is not None and not self.view:
            options["way"] = self.way
        if self.view:
            options["key"] = list(self.key_names)
        return Table(f"{pg(self.schema)}.{pg(self.name)}", **options)  # type: ignore[arg-type]

    def create(self) -> list[str]:
        """Return the statements that create the table."""
        columns = [
            f"{pg(name)} {kind} NOT NULL" for name, kind in zip(self.key_names, self.key.types, strict=True)
        ]
        columns += [
            f"{pg(name)} {kind}{'' if takes_null(kind) else ' NOT NULL'}"
            for name, kind in self.columns.items()
        ]
        if self.change is not None:
            columns.append(f"{pg(self.change[0])} {self.change[1]} DEFAULT CURRENT_TIMESTAMP")
        columns.append(f"PRIMARY KEY ({', '.join(map(pg, self.key_names))})")
        statements = [
            f"CREATE SCHEMA IF NOT EXISTS {pg(self.schema)}",
            f"CREATE TABLE {self.sql} ({', '.join(columns)})",
        ]
        if self.partitioned:
            statements[-1] += f" PARTITION BY RANGE ({pg(self.key_names[-1])})"
            for number, (low, high) in enumerate(
                [("2026-01-01", "2026-01-20"), ("2026-01-20", "2027-01-01")]
            ):
                statements.append(
                    f"CREATE TABLE {pg(self.schema, f'{self.name[:55]}_p{number}')} PARTITION OF {self.sql}"
                    f" FOR VALUES FROM ('{low}') TO ('{high}')"
                )
        if self.change is not None:
            name = pg(self.change[0])
            function = pg(self.schema, f"marca {self.name}"[:50])
            body = f"BEGIN NEW.{name} := CURRENT_TIMESTAMP; RETURN NEW; END"
            statements += [
                f"CREATE INDEX ON {self.sql} ({name})",
                f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS {pg_text(body)}",
                f"CREATE TRIGGER marca BEFORE UPDATE ON {self.sql} FOR EACH ROW EXECUTE FUNCTION {function}()",
            ]
        if self.view:
            statements.append(f"CREATE VIEW {pg(self.schema, self.name)} AS SELECT * FROM {self.sql}")
        return statements

    def insert(self, first: int, last: int, turn: int = 0) -> str:
        """Return the statement that inserts the rows numbered `first` to `last`."""
        names = [*self.key_names, *self.columns]
        values = [make("n") for make in self.key.values]
        values += [value(kind, "n", turn + place) for place, kind in enumerate(self.columns.values())]
        return (
            f"INSERT INTO {self.sql} ({', '.join(map(pg, names))})"
            f" SELECT {', '.join(values)} FROM generate_series({first}, {last}) AS n"
        )

    def update(self, numbers: Sequence[int], turn: int) -> list[str]:
        """Return the statements that set the rows with these numbers to the values of a turn."""
        statements = []
        for number in numbers:
            changes = [
                f"{pg(name)} = {value(kind, str(number), turn + place)}"
                for place, (name, kind) in enumerate(self.columns.items())
            ]
            statements.append(
                f"UPDATE {self.sql} SET {', '.join(changes)} WHERE {' AND '.join(self._key(number))}"
            )
        return statements

    def delete(self, number: int) -> str:
        """Return the statement that deletes the row with this number."""
        return f"DELETE FROM {self.sql} WHERE {' AND '.join(self._key(number))}"

    def change_key(self, number: int, to: int) -> str:
        """Return the statement that gives the row with this number the key of another number, which has no row."""
        return f"UPDATE {self.sql} SET {', '.join(self._key(to))} WHERE {' AND '.join(self._key(number))}"

    def _key(self, number: int) -> list[str]:
        """Return the condition for the row with this number, by its key."""
        return [
            f"{pg(name)} = CAST({make(str(number))} AS {kind})"
            for name, make, kind in zip(self.key_names, self.key.values, self.key.types, strict=True)
        ]


EVERYTHING: dict[str, str] = {f"c {kind.removeprefix('ext.')}": kind for kind in VALUES}
"""A column of each type."""

LONG = "á" * 31 + "z"
"""63 bytes."""

SHAPES = [
    Shape(
        "Pedido",
        ["Id"],
        KEYS["bigint"],
        {
            "valor": "numeric(38,10)",
            "moeda": "ext.moeda",
            "hora": "time",
            "f": "real",
            "endereço": "ext.endereco",
        },
        change=("updated_at", "timestamp"),
    ),
    Shape(
        "pedido",
        ["ID", "id", "iD"],
        KEYS["composite"],
        {"_version": "bigint", "humor": "ext.humor", "quando": "tstzrange[]"},
    ),
    Shape("Pedido", ["%"], KEYS["smallint"], EVERYTHING, schema="FilialSul", way="copy"),
    Shape(
        "some",
        ["select"],
        KEYS["sparse"],
        {
            "user": "text",
            "order": "integer[]",
            "from": "integer",
            "version": "bigint",
            "is_deleted": "smallint",
        },
        change=("interval", "timestamptz"),
    ),
    Shape(
        "select",
        ["order", "some"],
        KEYS["two integers"],
        {"case": "text", "_version": "bigint", "e": "text[]", "n": "integer[]"},
    ),
    Shape("user", ["user"], KEYS["uuid"], {"table": "jsonb", "null": "text", "x": "uuid[]"}, way="copy"),
    Shape(
        "order", ["some"], KEYS["text"], {"some ": "text", "Select": "money"}, change=("end", "timestamp(0)")
    ),
    Shape(
        "select",
        ["any"],
        KEYS["negative"],
        {"all": "text", "Not": "boolean"},
        schema="FilialSul",
        change=("date", "timestamp(3)"),
    ),
    Shape("cargas", ["código"], KEYS["numeric"], {"margem_%": "numeric(10,2)", "_part": "text"}),
    Shape(
        "stage__pedido",
        ["dia"],
        KEYS["date"],
        {"versão": "text", "a.b": "text", "a.c": "real"},
        change=("mudança %", "timestamptz(1)"),
    ),
    Shape(
        "linha \"d\" 'q' `c` \\ % ?",
        ['a"b', "a`b", "a'b"],
        KEYS["composite"],
        {
            "a\\b": "text",
            "%s": "text",
            "{x:String}": "integer",
            "$1": "text",
            "?": "text",
            ":x": "text",
            "*": "text",
        },
        change=("a\"b`c'd\\ %", "timestamp"),
    ),
    Shape(LONG, [LONG[::-1]], KEYS["varchar"], {LONG: "text", LONG[:-1] + "y": "text"}),
    Shape(
        LONG,
        ["Número"],
        KEYS["integer"],
        {LONG: "text"},
        schema="Filial Três",
        change=(LONG[::-1], "timestamp"),
        options={"to": "filial três"},
    ),
    Shape(
        "pagamento",
        ["id", "dia"],
        KEYS["of a partition"],
        {"valor": "numeric(10,2)", "uuid": "uuid"},
        partitioned=True,
    ),
    Shape(
        "pagamento mensal",
        ["id", "dia"],
        KEYS["of a partition"],
        {"valor": "numeric(18,8)"},
        partitioned=True,
        change=("quando", "timestamptz"),
    ),
    Shape("visão", ["id"], KEYS["timestamptz"], {"texto": "text"}, view=True, way="copy"),
    Shape(
        "um de cada",
        ["bool", "n", "humor", "grupo", "char", "bytes", "ip", "hora", "vezes", "f", "lista", "faixa"],
        together("boolean", "enum", "char", "bytea", "inet", "time", "interval", "real", "array", "range"),
        {"texto": "text"},
    ),
]
"""A mixed schema: every type, every way, many kinds of keys, and names that are hard to quote."""


def _rental_shop() -> str:
    """Return the statements of a schema of sixteen tables, like those of public sample databases."""
    lookups = {
        "pais": "pais text NOT NULL",
        "cidade": "cidade text NOT NULL, pais_id int NOT NULL",
        "endereco": "rua text NOT NULL, complemento text, cep text",
        "idioma": "nome char(20) NOT NULL",
        "categoria": "nome text NOT NULL",
        "ator": "nome text NOT NULL, sobrenome text NOT NULL",
        "loja": "gerente_id int UNIQUE",
        "funcionario": "nome text, ativo boolean NOT NULL DEFAULT true, senha text, foto bytea",
        "estoque": "filme_id int NOT NULL, loja_id int NOT NULL",
        "cliente": "nome text, ativo boolean, desde date DEFAULT CURRENT_DATE, chave uuid DEFAULT gen_random_uuid()",
        "locacao": "periodo tstzrange NOT NULL, cliente_id int NOT NULL",
        "filme": "titulo text NOT NULL, lancado ano, diaria numeric(4,2) NOT NULL DEFAULT 4.99, minutos smallint,"
        " classificacao classificacao DEFAULT 'livre', extras text[] NOT NULL DEFAULT '{}', busca tsvector,"
        f" horas numeric(4,2) GENERATED ALWAYS AS (round(minutos / 60.0, 2)) {COMPUTED}",
    }
    statements = [
        "CREATE SCHEMA locadora; SET search_path = locadora",
        "CREATE TYPE classificacao AS ENUM ('livre', '10', '18')",
        "CREATE DOMAIN ano AS integer CHECK (VALUE BETWEEN 1901 AND 2155)",
        "CREATE TYPE vetor",
        "CREATE FUNCTION vetor_in(cstring) RETURNS vetor LANGUAGE internal IMMUTABLE STRICT AS 'textin'",
        "CREATE FUNCTION vetor_out(vetor) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout'",
        "CREATE TYPE vetor (INPUT = vetor_in, OUTPUT = vetor_out, LIKE = text)",
        "CREATE FUNCTION mudou() RETURNS trigger LANGUAGE plpgsql"
        " AS 'BEGIN NEW.last_update := CURRENT_TIMESTAMP; RETURN NEW; END'",
        *(
            f"CREATE TABLE {name} ({name}_id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, {columns},"
            " last_update timestamptz NOT NULL DEFAULT now())"
            for name, columns in lookups.items()
        ),
        "CREATE TABLE filme_ator (ator_id smallint, filme_id int, last_update timestamptz NOT NULL DEFAULT now(),"
        " PRIMARY KEY (ator_id, filme_id))",
        "CREATE TABLE filme_categoria (filme_id int, categoria_id smallint, last_update timestamptz NOT NULL DEFAULT now(),"
        " PRIMARY KEY (filme_id, categoria_id))",
        "CREATE TABLE filme_vetor (filme_id int PRIMARY KEY, vetor vetor, last_update timestamptz NOT NULL DEFAULT now())",
        *(
            f"CREATE TRIGGER mudou BEFORE UPDATE ON {name} FOR EACH ROW EXECUTE FUNCTION mudou()"
            for name in (*lookups, "filme_ator", "filme_categoria", "filme_vetor")
        ),
        "CREATE TABLE pagamento (pagamento_id int GENERATED BY DEFAULT AS IDENTITY, pago_em timestamptz, valor numeric(5,2),"
        " chave uuid NOT NULL DEFAULT gen_random_uuid(), PRIMARY KEY (pago_em, pagamento_id)) PARTITION BY RANGE (pago_em)",
        *(
            f"CREATE TABLE pagamento_{month} PARTITION OF pagamento"
            f" FOR VALUES FROM ('2026-{month:02}-01+00') TO ('2026-{month + 1:02}-01+00')"
            for month in range(1, 12)
        ),
    ]
    return "; ".join(statements)


RENTAL_SHOP = _rental_shop()
"""A schema that was not made for the mirror: no change column for windows, and tables of all kinds."""

RENTAL_SHOP_ROWS = """
SET search_path = locadora;
INSERT INTO pais (pais) VALUES ('Brasil'), ('Côte d''Ivoire');
INSERT INTO cidade (cidade, pais_id) VALUES ('São Paulo', 1);
INSERT INTO endereco (rua) VALUES ('Rua A'), ('');
INSERT INTO idioma (nome) VALUES ('Português'), ('日本語');
INSERT INTO categoria (nome) VALUES ('Ação');
INSERT INTO ator (nome, sobrenome) SELECT 'A' || n, 'B' FROM generate_series(1, 9) AS n;
INSERT INTO loja (gerente_id) VALUES (1), (NULL);
INSERT INTO funcionario (nome, foto) VALUES ('Ana', '\\x00ff'), ('Zé', NULL);
INSERT INTO estoque (filme_id, loja_id) VALUES (1, 1);
INSERT INTO cliente (nome, ativo) VALUES ('Bia', NULL);
INSERT INTO locacao (periodo, cliente_id) VALUES ('[2026-01-01 10:00+00,)', 1);
INSERT INTO filme (titulo, lancado, minutos, extras, busca)
    VALUES ('Um', 1999, 86, '{Trailers,"Deleted Scenes"}', 'um:1'), ('Dois', NULL, NULL, '{}', '');
INSERT INTO filme_ator (ator_id, filme_id) SELECT n, 1 FROM generate_series(1, 9) AS n;
INSERT INTO filme_categoria (filme_id, categoria_id) VALUES (1, 1), (2, 1);
INSERT INTO filme_vetor (filme_id, vetor) VALUES (1, '[0.1,2]'), (2, NULL);
INSERT INTO pagamento (pago_em, valor) SELECT '2026-01-15'::date + 30 * n, n + 0.99 FROM generate_series(0, 9) AS n;
"""
