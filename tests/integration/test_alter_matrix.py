"""Every kind of ALTER for tables and their types in PostgreSQL: between two runs, within a run and within a backfill.

A run ends with both sides equal, or sets the table aside with a reason that names it. Then the repair in the message, or the
next run, makes both equal. All tables are altered together, so that the whole test needs only a few runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import psycopg
import pytest

from include.mirror.batch import Batch
from include.mirror.declaration import Table
from include.mirror.errors import RefusedError
from include.mirror.plan import Read, Work
from include.mirror.run import check_run, move_batch
from local.servers.clickhouse import ClickHouse
from local.servers.postgres import Postgres
from tests.conftest import empty_warehouse, new_source
from tests.lab import Lab
from tests.versions import postgres_major

COLUMNS = "id int, a text, b int, c varchar(10), e text, atualizado timestamptz NOT NULL DEFAULT now()"
TABLE = f"CREATE TABLE {{t}} ({COLUMNS}, PRIMARY KEY (id)); CREATE INDEX ON {{t}} (atualizado)"
ROWS = (
    "INSERT INTO {t} (id, a, b, c, e, atualizado)"
    " SELECT n, 'a' || n, n, 'c' || n, 'e' || n, timestamptz '2026-01-01' + n * interval '1 day'"
    " FROM generate_series(1, 3) AS n"
)
MIDDLE = datetime(2026, 1, 3, tzinfo=UTC)
"""A time between the first row and the last."""


@dataclass(frozen=True)
class Case:
    """One ALTER of a table `{t}`; `more` are statements that prepare the table.

    `refused` is part of the reason, if no run accepts the ALTER. `mend` are the statements that repair it in the source;
    without them, the table is dropped in the warehouse, as the message says. `free` is True for an ALTER that does not wait
    for readers' locks. With no `way`, the mirror chooses one. `since` is the first version of PostgreSQL that has it.
    """

    alter: str
    more: str = ""
    table: str = TABLE
    refused: str = ""
    mend: str = ""
    free: bool = False
    way: str | None = "window or scan"
    since: int = 14


STORED = "ALTER TABLE {t} ADD COLUMN g int GENERATED ALWAYS AS (b * 2) STORED"
VIRTUAL = "ALTER TABLE {t} ADD COLUMN g int GENERATED ALWAYS AS (b * 2) VIRTUAL"
NOT_VALID = ", ADD CONSTRAINT {t}_n NOT NULL a NOT VALID" if postgres_major() >= 18 else ""
ACCESS_METHOD = "ALTER TABLE {t} SET ACCESS METHOD heap; " if postgres_major() >= 15 else ""
ENUM = "CREATE TYPE {t}_cor AS ENUM ('azul', 'verde'); ALTER TABLE {t} ADD COLUMN g {t}_cor DEFAULT 'azul'"
PAIR = "CREATE TYPE {t}_par AS (x int, y text); ALTER TABLE {t} ADD COLUMN g {t}_par DEFAULT ROW(1, 'a')"
DOMAIN = "CREATE DOMAIN {t}_nota AS int CHECK (VALUE < 9); ALTER TABLE {t} ADD COLUMN g {t}_nota DEFAULT 5"
PARTED = (
    f"CREATE TABLE {{t}} ({COLUMNS}, PRIMARY KEY (id)) PARTITION BY RANGE (id); CREATE INDEX ON {{t}} (atualizado);"
    f" CREATE TABLE {{t}}_1 PARTITION OF {{t}} FOR VALUES FROM (0) TO (10);"
    f" CREATE TABLE {{t}}_2 ({COLUMNS}, PRIMARY KEY (id))"
)
OTHER = "INSERT INTO {t}_2 (id, a, atualizado) VALUES (10, 'z', '2026-01-02')"
ATTACH = "ALTER TABLE {t} ATTACH PARTITION {t}_2 FOR VALUES FROM (10) TO (20)"

CASES = {
    # ALTERs that change no row, all on one table.
    "plain": Case(
        "ALTER TABLE {t} ALTER a SET DEFAULT 'z', ALTER b SET NOT NULL, ALTER a SET STATISTICS 50,"
        " ALTER a SET (n_distinct = 5), ALTER a SET STORAGE EXTERNAL, ALTER a SET COMPRESSION pglz,"
        " ADD COLUMN IF NOT EXISTS a text, ADD CONSTRAINT {t}_k CHECK (b > 0) NOT VALID, ADD UNIQUE (b);"
        " ALTER TABLE {t} ALTER a DROP DEFAULT, ALTER b DROP NOT NULL, ALTER a RESET (n_distinct);"
        " ALTER TABLE {t} VALIDATE CONSTRAINT {t}_k; ALTER TABLE {t} RENAME CONSTRAINT {t}_k TO {t}_l;"
        f" ALTER TABLE {{t}} DROP CONSTRAINT {{t}}_l{NOT_VALID};"
        " ALTER TABLE {t} ADD CONSTRAINT {t}_f FOREIGN KEY (b) REFERENCES {t} (id) DEFERRABLE;"
        " ALTER TABLE {t} ALTER CONSTRAINT {t}_f NOT DEFERRABLE; ALTER TABLE {t} DROP CONSTRAINT {t}_f;"
        " CREATE UNIQUE INDEX {t}_i ON {t} (b, id); ALTER TABLE {t} ADD CONSTRAINT {t}_i UNIQUE USING INDEX {t}_i;"
        " ALTER TABLE {t} SET (fillfactor = 50, autovacuum_enabled = false), REPLICA IDENTITY FULL,"
        " CLUSTER ON {t}_pkey, ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY, OWNER TO pg_database_owner;"
        " ALTER TABLE {t} RESET (fillfactor), REPLICA IDENTITY USING INDEX {t}_pkey, SET WITHOUT CLUSTER,"
        " SET WITHOUT OIDS, NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY, OWNER TO CURRENT_USER;"
        " CREATE TRIGGER {t}_t BEFORE UPDATE ON {t} FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();"
        " CREATE RULE {t}_r AS ON DELETE TO {t} DO ALSO NOTHING;"
        " ALTER TABLE {t} DISABLE TRIGGER {t}_t, DISABLE RULE {t}_r; ALTER TABLE {t} ENABLE REPLICA TRIGGER {t}_t,"
        " ENABLE REPLICA RULE {t}_r; ALTER TABLE {t} ENABLE ALWAYS TRIGGER {t}_t, ENABLE ALWAYS RULE {t}_r;"
        " ALTER TABLE {t} ENABLE TRIGGER ALL, ENABLE RULE {t}_r; ALTER TABLE {t} DISABLE TRIGGER USER;"
        " ALTER TABLE {t} ALTER id ADD GENERATED BY DEFAULT AS IDENTITY; ALTER TABLE {t} ALTER id SET GENERATED ALWAYS,"
        " ALTER id RESTART WITH 50; ALTER TABLE {t} ALTER id DROP IDENTITY; ALTER TABLE {t} ALTER a SET STATISTICS -1"
    ),
    # ALTERs that move a table into other files.
    "files": Case(
        "ALTER TABLE {t} SET UNLOGGED; ALTER TABLE {t} SET LOGGED; ALTER TABLE {t} SET TABLESPACE outro;"
        f" {ACCESS_METHOD}CLUSTER {{t}} USING {{t}}_pkey; VACUUM (FULL) {{t}}"
    ),
    "repacked": Case("VACUUM (FULL) {t}"),
    "of_type": Case(
        "ALTER TABLE {t} OF {t}_tipo; ALTER TABLE {t} NOT OF; ALTER TABLE {t} OF {t}_tipo",
        "CREATE TYPE {t}_tipo AS (id int, a text, b int, c varchar(10), e text, atualizado timestamptz)",
    ),
    # Columns.
    "add_empty": Case("ALTER TABLE {t} ADD COLUMN n text"),
    "add_constant": Case("ALTER TABLE {t} ADD COLUMN n text NOT NULL DEFAULT 'SUL'"),
    "add_random": Case("ALTER TABLE {t} ADD COLUMN n float8 DEFAULT random()"),
    "add_identity": Case("ALTER TABLE {t} ADD COLUMN n int GENERATED ALWAYS AS IDENTITY"),
    "add_stored": Case(STORED),
    "add_virtual": Case(VIRTUAL, since=18),
    "drop": Case("ALTER TABLE {t} DROP COLUMN c", refused="{t}.c is gone; bring it back"),
    "drop_and_add": Case("ALTER TABLE {t} DROP COLUMN c, ADD COLUMN c varchar(10) DEFAULT 'novo'"),
    "rename": Case(
        "ALTER TABLE {t} RENAME a TO n",
        refused="{t}.a is called n now; rename it back",
        mend="ALTER TABLE {t} RENAME n TO a",
    ),
    "swap": Case(
        "ALTER TABLE {t} RENAME a TO n; ALTER TABLE {t} RENAME e TO a; ALTER TABLE {t} RENAME n TO e"
    ),
    "widen": Case("ALTER TABLE {t} ALTER c TYPE text"),
    "collate": Case('ALTER TABLE {t} ALTER a TYPE text COLLATE "C"'),
    "same_type": Case("ALTER TABLE {t} ALTER b TYPE int USING b * 10"),
    "retype": Case(
        "ALTER TABLE {t} ALTER b TYPE numeric(12, 2)", refused="{t}.b is numeric(12,2), expected integer"
    ),
    "time": Case("ALTER TABLE {t} ALTER atualizado TYPE timestamptz(3)"),
    # Generated columns.
    "expression": Case("ALTER TABLE {t} ALTER g SET EXPRESSION AS (b * 3)", STORED, since=17),
    "virtual": Case("ALTER TABLE {t} ALTER g SET EXPRESSION AS (b * 3)", VIRTUAL, since=18),
    "no_expression": Case("ALTER TABLE {t} ALTER g DROP EXPRESSION", STORED),
    # The key.
    "other_key": Case(
        "ALTER TABLE {t} DROP CONSTRAINT {t}_pkey, ADD PRIMARY KEY (b)",
        refused="is ordered by id, expected b",
    ),
    "wider_key": Case(
        "ALTER TABLE {t} DROP CONSTRAINT {t}_pkey, ADD PRIMARY KEY (id, b)",
        refused="is ordered by id, expected id, b",
    ),
    "no_key": Case(
        "ALTER TABLE {t} DROP CONSTRAINT {t}_pkey; ALTER TABLE {t} ALTER id DROP NOT NULL",
        refused="{t} has no key",
        mend="ALTER TABLE {t} ADD PRIMARY KEY (id)",
    ),
    "big_key": Case("ALTER TABLE {t} ALTER id TYPE bigint", refused="{t}.id is bigint, expected integer"),
    "renamed_key": Case(
        "ALTER TABLE {t} RENAME id TO chave",
        refused="{t}.id is called chave now",
        mend="ALTER TABLE {t} RENAME chave TO id",
    ),
    # The table.
    "renamed": Case(
        "ALTER TABLE {t} RENAME TO {t}_x",
        refused="public.{t} does not exist",
        mend="ALTER TABLE {t}_x RENAME TO {t}",
    ),
    "moved": Case(
        "ALTER TABLE {t} SET SCHEMA outro",
        refused="public.{t} does not exist",
        mend="ALTER TABLE outro.{t} SET SCHEMA public",
    ),
    "replaced": Case(
        "CREATE TABLE {t}_x (LIKE {t} INCLUDING ALL); INSERT INTO {t}_x SELECT * FROM {t} WHERE id > 1;"
        " DROP TABLE {t}; ALTER TABLE {t}_x RENAME TO {t}"
    ),
    "parent": Case(
        "ALTER TABLE {t}_f INHERIT {t}",
        "CREATE TABLE {t}_f (LIKE {t})",
        refused="{t}_f inherit from it",
        mend="ALTER TABLE {t}_f NO INHERIT {t}",
    ),
    "child": Case(
        "ALTER TABLE {t} INHERIT {t}_m; ALTER TABLE {t} NO INHERIT {t}_m; ALTER TABLE {t} INHERIT {t}_m",
        "CREATE TABLE {t}_m (a text)",
    ),
    # Partitions.
    "attach": Case(ATTACH, OTHER, PARTED),
    "attach_empty": Case(ATTACH, "", PARTED, free=True),
    "detach": Case(
        "ALTER TABLE {t} DETACH PARTITION {t}_2; " + ATTACH,
        f"{OTHER}; {ATTACH}",
        PARTED,
    ),
    "detach_concurrently": Case(
        "ALTER TABLE {t} DETACH PARTITION {t}_2 CONCURRENTLY; " + ATTACH, f"{OTHER}; {ATTACH}", PARTED
    ),
    # Types: nothing of the table changes.
    "label": Case("ALTER TYPE {t}_cor RENAME VALUE 'azul' TO 'anil'", ENUM, free=True),
    "labels_swapped": Case(
        "ALTER TYPE {t}_cor RENAME VALUE 'azul' TO 'x'; ALTER TYPE {t}_cor RENAME VALUE 'verde' TO 'azul';"
        " ALTER TYPE {t}_cor RENAME VALUE 'x' TO 'verde'",
        ENUM,
        free=True,
    ),
    "label_in_array": Case(
        "ALTER TYPE {t}_cor RENAME VALUE 'azul' TO 'anil'",
        "CREATE TYPE {t}_cor AS ENUM ('azul'); ALTER TABLE {t} ADD COLUMN g {t}_cor[] DEFAULT '{{azul}}'",
        free=True,
    ),
    "label_in_key": Case(
        "ALTER TYPE {t}_cor RENAME VALUE 'azul' TO 'anil'",
        f"{ENUM}; ALTER TABLE {{t}} DROP CONSTRAINT {{t}}_pkey, ADD PRIMARY KEY (g, id)",
        free=True,
    ),
    "label_behind_domain": Case(
        "ALTER TYPE {t}_cor RENAME VALUE 'azul' TO 'anil'",
        "CREATE TYPE {t}_cor AS ENUM ('azul'); CREATE DOMAIN {t}_d AS {t}_cor; CREATE TYPE {t}_par AS (x {t}_d);"
        " ALTER TABLE {t} ADD COLUMN g {t}_par DEFAULT '(azul)'",
        free=True,
    ),
    "one_more_label": Case("ALTER TYPE {t}_cor ADD VALUE 'rosa' BEFORE 'azul'", ENUM, free=True),
    "renamed_type": Case("ALTER TYPE {t}_cor RENAME TO {t}_tinta", ENUM, free=True),
    "moved_type": Case("ALTER TYPE {t}_cor SET SCHEMA outro", ENUM, free=True),
    "attribute": Case("ALTER TYPE {t}_par ADD ATTRIBUTE z int", PAIR, free=True),
    "no_attribute": Case("ALTER TYPE {t}_par DROP ATTRIBUTE x", PAIR, free=True),
    "other_attribute": Case("ALTER TYPE {t}_par RENAME ATTRIBUTE x TO z", PAIR, free=True),
    "rows_of_a_table": Case(
        "ALTER TABLE {t}_x ADD COLUMN z int",
        "CREATE TABLE {t}_x (x int); ALTER TABLE {t} ADD COLUMN g {t}_x[] DEFAULT ARRAY[ROW(1)::{t}_x]",
        free=True,
    ),
    "domain": Case(
        "ALTER DOMAIN {t}_nota SET DEFAULT 3; ALTER DOMAIN {t}_nota ADD CONSTRAINT n CHECK (VALUE > 0) NOT VALID;"
        " ALTER DOMAIN {t}_nota VALIDATE CONSTRAINT n; ALTER DOMAIN {t}_nota RENAME CONSTRAINT n TO m;"
        " ALTER DOMAIN {t}_nota DROP CONSTRAINT m; ALTER DOMAIN {t}_nota SET NOT NULL; ALTER DOMAIN {t}_nota DROP DEFAULT",
        DOMAIN,
        free=True,
    ),
    "renamed_domain": Case("ALTER DOMAIN {t}_nota RENAME TO {t}_valor", DOMAIN, free=True),
    "named": Case(
        "ALTER TABLE {t}_x RENAME TO {t}_y",
        "CREATE TABLE {t}_x (x int); ALTER TABLE {t} ADD COLUMN g regclass DEFAULT 'public.{t}_x'",
        way=None,
    ),
    "cast": Case(
        "CREATE FUNCTION {t}_f({t}_cor) RETURNS text LANGUAGE sql IMMUTABLE AS $$SELECT 'cor'$$;"
        " CREATE CAST ({t}_cor AS text) WITH FUNCTION {t}_f({t}_cor)",
        ENUM,
        free=True,
    ),
}
CASES = {case: one for case, one in CASES.items() if one.since <= postgres_major()}
READ_AGAIN = [
    case for case in ("same_type", "label", "virtual", "attribute", "attach", "swap", "cast") if case in CASES
]
"""Some cases after which all rows have to arrive again."""
NOT_READ_AGAIN = (
    "plain",
    "repacked",
    "of_type",
    "add_empty",
    "child",
    "attach_empty",
    "one_more_label",
    "domain",
)
"""The cases after which nothing has to be read again."""


def name(case: str, timing: str) -> str:
    return f"{case}_{timing}"


def do(connection: psycopg.Connection, text: str, table: str) -> None:
    """Run the application's statements on one table, each in its own transaction."""
    for statement in text.format(t=table).split(";"):
        if statement.strip():
            connection.execute(statement.encode())


def alter(lab: Lab, timing: str, which: Callable[[Case], bool] = lambda _case: True) -> None:
    with lab.connect() as connection:
        for case, one in CASES.items():
            if which(one):
                do(connection, one.alter, name(case, timing))


def tables(timing: str) -> list[Table]:
    """Declare the tables of one timing. Each case is read by window in some timings and by scan in others."""
    declared = []
    for number, (case, one) in enumerate(CASES.items()):
        table = Table(name(case, timing))
        if one.way is None:
            declared.append(table)
        elif (number + ord(timing)) % 2:
            declared.append(replace(table, change_column="atualizado"))
        else:
            declared.append(replace(table, way="scan"))
    return declared


@pytest.fixture(scope="module")
def lab(postgres: Postgres, clickhouse: ClickHouse) -> Lab:
    """A lab without tables."""
    empty_warehouse(clickhouse)
    lab = Lab(new_source(postgres), clickhouse)
    with lab.connect() as connection:
        connection.execute("SET allow_in_place_tablespaces = on")
        connection.execute("CREATE SCHEMA outro")
        connection.execute("CREATE TABLESPACE outro LOCATION ''")
    return lab


def create(lab: Lab, timing: str) -> None:
    """Create the tables of one timing, and mirror only these from now on."""
    with lab.connect() as connection:
        for case, one in CASES.items():
            do(connection, f"{one.table}; {ROWS}; {one.more}", name(case, timing))
        # After ANALYZE, the tables are known to be small, so they share one snapshot.
        connection.execute("ANALYZE")
    lab.mirror_only(*tables(timing))


def aside(lab: Lab, planned: list[Batch]) -> dict[str, str]:
    """Return the tables that an ended run has set aside. All others must be equal on both sides."""
    refused = lab.ledger.refused(planned[0].plan)
    for table, reason in refused.items():
        assert table in reason
    whole = lab.declaration
    lab.declaration = replace(whole, tables=[one for one in whole.declared if one.name not in refused])
    try:
        lab.assert_equal()
    finally:
        lab.declaration = whole
    return refused


def see_through(lab: Lab, planned: list[Batch]) -> dict[str, int]:
    moved: dict[str, int] = {}
    for batch in planned:
        moved |= move_batch(lab.engine(), batch, "matrix", 1)
    try:
        check_run(lab.engine(), planned)
    except RefusedError:
        assert lab.ledger.refused(planned[0].plan)
    else:
        assert not lab.ledger.refused(planned[0].plan)
    return moved


def mend(lab: Lab, timing: str) -> None:
    """Do the repairs of the messages, for the cases that no run repairs by itself."""
    with lab.connect() as connection:
        for case, one in CASES.items():
            table = name(case, timing)
            if one.mend:
                do(connection, one.mend, table)
            elif one.refused:
                lab.query(f"DROP TABLE vendas_raw.{table} SYNC")


def assert_mended(lab: Lab, timing: str) -> None:
    mend(lab, timing)
    planned = lab.plan((MIDDLE, lab.now()))
    see_through(lab, planned)
    assert aside(lab, planned) == {}


def test_between_two_runs(lab: Lab) -> None:
    create(lab, "p")
    lab.run()
    alter(lab, "p")
    planned = lab.plan((MIDDLE, lab.now()))
    moved = see_through(lab, planned)
    refused = aside(lab, planned)
    expected = {name(case, "p"): one.refused for case, one in CASES.items() if one.refused}
    assert refused.keys() == expected.keys()
    for table, reason in expected.items():
        assert reason.format(t=table) in refused[table]
    assert all(moved[name(case, "p")] >= 3 for case in READ_AGAIN)
    # The backfill reads the rows of its interval by window.
    windows = {one.name for one in tables("p") if one.change_column}
    assert {case: moved[name(case, "p")] for case in NOT_READ_AGAIN if name(case, "p") not in windows} == {
        case: 0 for case in NOT_READ_AGAIN if name(case, "p") not in windows
    }
    assert_mended(lab, "p")


@pytest.mark.campaign
def test_within_a_run(lab: Lab) -> None:
    """The ALTER comes after the planning, or, if no lock delays it, after the snapshot."""
    create(lab, "q")
    lab.run()
    planned = lab.plan((MIDDLE, lab.now()))
    alter(lab, "q", lambda case: not case.free)
    done: list[str] = []

    def during(step: str, _work: object) -> None:
        if step == "snapshot" and not done:
            done.append(step)
            alter(lab, "q", lambda case: case.free)

    for batch in planned:
        move_batch(lab.engine(observe=during), batch, "matrix", 1)
    assert done
    with pytest.raises(RefusedError):
        check_run(lab.engine(), planned)
    aside(lab, planned)
    assert_mended(lab, "q")


@pytest.mark.campaign
def test_within_a_backfill(lab: Lab) -> None:
    create(lab, "r")
    planned = lab.plan((MIDDLE, lab.now()))
    first: list[Work] = []
    second: list[Work] = []
    for read in (read for batch in planned for read in batch.reads):
        if isinstance(read, Read) and read.window.inicio < MIDDLE < read.window.fim:
            first.append(replace(read, window=replace(read.window, fim=MIDDLE)))
            second.append(replace(read, window=replace(read.window, inicio=MIDDLE)))
        else:
            second.append(read)
    assert first
    pieces = [replace(planned[0], passes=(tuple(reads),)) for reads in (first, second)]
    move_batch(lab.engine(), pieces[0], "matrix", 1)
    alter(lab, "r")
    move_batch(lab.engine(), pieces[1], "matrix", 1)
    with pytest.raises(RefusedError):
        check_run(lab.engine(), pieces)
    aside(lab, pieces)
    assert_mended(lab, "r")
