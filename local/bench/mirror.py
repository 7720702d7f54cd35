"""Measure the mirror against PostgreSQL's and ClickHouse's own speed, and against others: `python -m local.bench.mirror`.

Every path moves the same table between the same two embedded servers. Each path runs in a process of its own. The paths take
turns, several times, so that a machine that becomes slower or faster does so for all of them. Each time, the rows that
arrived are counted and summed. Quote the ratios: the rates are this machine's.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_urlsafe
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self
from zoneinfo import ZoneInfo

import click
import psutil
import psycopg
from psycopg.conninfo import conninfo_to_dict
from rich.console import Console
from rich.table import Table

from include.mirror import declaration
from include.mirror.names import ch, pg
from include.vendas.tables import VENDAS
from local.bench.page import write_figures
from local.servers.clickhouse import ClickHouse
from local.servers.postgres import Postgres
from local.servers.server import free_port
from local.source import base
from local.source.bulk import bulk

if TYPE_CHECKING:
    from include.mirror.engine import Engine

ROWS_PER_SALE = {"item_venda": 4.5, "venda": 1.0}
"""The tables of the sales system that can be measured, with their average number of rows per sale."""

_MANY = ", ".join(
    f"{kind.split('(')[0]}_{number} {kind}"
    for kind, count in {"integer": 19, "text": 15, "numeric(12, 2)": 8, "timestamp": 7, "jsonb": 8}.items()
    for number in range(count)
)
_FILLED = ", ".join(
    value.replace("#", str(number))
    for value, count in {
        "(n * # % 100000)::integer": 19,
        "'text # of row ' || n": 15,
        "n / 7.0": 8,
        "timestamp '2025-01-01' + n * interval '# s'": 7,
        """jsonb_build_object('n', n, 'key', 'value #')""": 8,
    }.items()
    for number in range(count)
)
MADE = {
    "larga": (
        f"(id bigint PRIMARY KEY, {_MANY}, valor numeric(10, 2), updated_at timestamp DEFAULT now())",
        f"n, {_FILLED}, n % 1000000 / 100.0",
        10,
    ),
    "por_uuid": (
        "(id uuid PRIMARY KEY, cliente integer, nota text, valor numeric(10, 2), updated_at timestamp DEFAULT now())",
        "md5(n::text)::uuid, n % 1000, 'note ' || n, n % 1000000 / 100.0",
        2,
    ),
}
"""Other tables, one of 60 columns and one with a uuid for a key: their columns, the values of row n, and how many times
fewer rows than asked for they get."""

TABLES = ("item_venda", *MADE)
"""What is measured by default."""

SHARE = 10
"""Some paths are so slow that they move only one row in ten."""
AT_ONCE = 50_000
"""How many rows those paths hold at a time."""

DATABASE = "bench"
"""The database to which all paths but the mirror write."""

Money = tuple[int, str]
"""The number of rows, and the sum of the last decimal column as text. Every path must deliver the same."""


@dataclass(frozen=True)
class Subject:
    """The table that is moved: its name on both sides, its columns, its key, and its last decimal column (`money`).

    `create` is the statement that creates a table like the mirror's own in `DATABASE`. `version` is that table's column for
    the order of snapshots.
    """

    table: str
    columns: list[str]
    key: str
    money: str
    create: str
    version: str

    @classmethod
    def find(cls, table: str, dsn: str) -> Self:
        """Return a table of the sales system, as the mirror resolves it."""
        from include.mirror.warehouse.ddl import bookkeeping, storage_ddl

        engine = _engine(dsn, table)
        with engine.source.connect() as connection:
            spec = engine.specs(connection, [table], new=True).specs[table]
        return cls(
            table,
            [column.name for column in spec.columns],
            spec.key[0],
            [column.name for column in spec.columns if column.carrier.scale is not None][-1],
            storage_ddl(spec, DATABASE),
            bookkeeping(spec).version,
        )

    @classmethod
    def given(cls) -> Self:
        """Return the subject that was passed to this process in its environment."""
        return cls(**json.loads(os.environ["BENCH_SUBJECT"]))


@dataclass(frozen=True)
class Result:
    """One run of one path: wall-clock seconds, and CPU seconds and peak memory (MB) of its process and of the servers."""

    table: str
    path: str
    rows: int
    seconds: float
    worker_cpu: float
    source_cpu: float
    warehouse_cpu: float
    worker_mb: float
    warehouse_mb: float

    @property
    def rate(self) -> float:
        """Rows per second."""
        return self.rows / self.seconds


# The paths. Each returns the number of rows and the sum of their money, as read where they arrived.


def copy_to_nowhere(subject: Subject) -> Money:
    """Read as fast as PostgreSQL sends, and drop the data: no other path can be faster."""
    with psycopg.connect(os.environ["SOURCE_DSN"]) as connection:
        with connection.cursor().copy(f"COPY (SELECT * FROM {pg(subject.table)}) TO STDOUT".encode()) as copy:  # noqa: S608
            for _ in copy:
                pass
        return _source_sum(subject, connection)


def clickhouse_pulls(subject: Subject) -> Money:
    """Let ClickHouse read the table with `postgresql()`, without stage or verification."""
    parts = conninfo_to_dict(os.environ["SOURCE_DSN"])
    columns = ", ".join(map(ch, subject.columns))
    with _client() as client:
        _create_target(subject, client)
        client.command(
            f"INSERT INTO {ch(DATABASE, subject.table)} ({columns}, {ch(subject.version)}) "  # noqa: S608
            f"SELECT {columns}, 1 FROM postgresql("
            "{address:String}, {database:String}, {table:String}, {user:String}, {password:String})",
            parameters={
                "address": f"{parts['host']}:{parts['port']}",
                "database": parts["dbname"],
                "table": subject.table,
                "user": parts["user"],
                "password": parts["password"],
            },
        )
        return _target_sum(subject, client, DATABASE)


def by_window(subject: Subject) -> Money:
    """Plan, split, stage, verify, publish and verify again, as a run of `etl_vendas` does."""
    return _mirror(subject, change_column="updated_at")


def by_scan(subject: Subject) -> Money:
    """Do the same for a table whose changes are found by transaction ids."""
    return _mirror(subject, way="scan")


def by_copy(subject: Subject) -> Money:
    """Do the same for a table that is copied and compared."""
    return _mirror(subject, way="copy")


def _mirror(subject: Subject, **options: str) -> Money:
    from include.mirror.run import move_batch, plan_run

    engine = _engine(os.environ["SOURCE_DSN"], subject.table, **options)
    now = datetime.now(UTC)
    for batch in plan_run(engine, {}, (now - timedelta(seconds=1), now)):
        move_batch(engine, batch, "bench", 1)
    with _client() as client:
        return _target_sum(subject, client, VENDAS.views)


def row_tuples(subject: Subject) -> Money:
    """Fetch rows as Python tuples and insert them, as most home-made pipelines do. Moves one row in ten."""

    def insert(client: Any, rows: list[tuple[Any, ...]], columns: list[str]) -> None:
        client.insert(subject.table, rows, column_names=columns, database=DATABASE)

    return _tuples(subject, insert)


def bulk_insert_rows(subject: Subject) -> Money:
    """Insert row tuples by the Airflow provider's own method. Moves one row in ten."""
    from airflow.providers.clickhousedb.hooks.clickhouse import ClickHouseHook

    class Hook(ClickHouseHook):
        def get_client(self, *_: Any, **__: Any) -> Any:
            return _client()

    def insert(_: Any, rows: list[tuple[Any, ...]], columns: list[str]) -> None:
        Hook().bulk_insert_rows(f"{DATABASE}.{subject.table}", rows, columns)

    return _tuples(subject, insert)


def _tuples(subject: Subject, insert: Callable[[Any, list[tuple[Any, ...]], list[str]], None]) -> Money:
    # As text, jsonb arrives as it does on all other paths.
    columns = ", ".join(
        f"{pg(column)}::text" if column.startswith("jsonb") else pg(column) for column in subject.columns
    )
    with psycopg.connect(os.environ["SOURCE_DSN"]) as connection, _client() as client:
        _create_target(subject, client)
        cursor = connection.cursor("rows")
        cursor.execute(f"SELECT {columns} FROM {pg(subject.table)} {_share(subject, SHARE)}".encode())  # noqa: S608
        while rows := cursor.fetchmany(AT_ONCE):
            insert(client, [(*row, 1) for row in rows], [*subject.columns, subject.version])
        return _target_sum(subject, client, DATABASE)


def pandas_frames(subject: Subject) -> Money:
    """Read by `pandas.read_sql` and insert by `insert_df`. Moves one row in ten."""
    import pandas
    import sqlalchemy

    parts = conninfo_to_dict(os.environ["SOURCE_DSN"])
    url = sqlalchemy.URL.create(
        "postgresql+psycopg",
        str(parts["user"]),
        str(parts["password"]),
        str(parts["host"]),
        int(str(parts["port"])),
        str(parts["dbname"]),
    )
    columns = ", ".join(
        f"{pg(column)}::text AS {pg(column)}" if column.startswith("jsonb") else pg(column)
        for column in subject.columns
    )
    query = f"SELECT {columns} FROM {pg(subject.table)} {_share(subject, SHARE)}"  # noqa: S608
    with sqlalchemy.create_engine(url).connect() as connection, _client() as client:
        _create_target(subject, client)
        streaming = connection.execution_options(stream_results=True)
        for frame in pandas.read_sql(
            sqlalchemy.text(query.replace(":", "\\:")), streaming, chunksize=AT_ONCE
        ):
            client.insert_df(subject.table, frame.assign(**{subject.version: 1}), database=DATABASE)
        return _target_sum(subject, client, DATABASE)


def sling(subject: Subject) -> Money:
    """Let Sling load the table over ClickHouse's HTTP interface."""
    server = _clickhouse()
    target = {
        "type": "clickhouse",
        "http_url": f"http://{server.user}:{server.password}@127.0.0.1:{server.port}/{DATABASE}",
    }
    with TemporaryDirectory(prefix="sling-") as home, _client() as client:
        client.command(f"CREATE DATABASE IF NOT EXISTS {DATABASE}")
        client.command(f"DROP TABLE IF EXISTS {ch(DATABASE, subject.table)} SYNC")
        done = subprocess.run(
            [
                os.environ["SLING"],
                *("run", "--mode", "full-refresh"),
                *("--src-conn", "BENCH_SOURCE", "--src-stream", f"public.{subject.table}"),
                *("--tgt-conn", "BENCH_TARGET", "--tgt-object", f"{DATABASE}.{subject.table}"),
            ],
            env={
                **os.environ,
                "HOME": home,
                "SLING_HOME_DIR": home,
                "BENCH_SOURCE": os.environ["SOURCE_DSN"] + "?sslmode=disable",
                "BENCH_TARGET": json.dumps(target),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise click.ClickException(done.stdout[-2000:] + done.stderr[-2000:])
        return _target_sum(subject, client, DATABASE)


MIRROR, PULLER = "mirror, window", "postgresql()"
PATHS: dict[str, Callable[[Subject], Money]] = {
    "COPY to nowhere": copy_to_nowhere,
    PULLER: clickhouse_pulls,
    MIRROR: by_window,
    "mirror, scan": by_scan,
    "mirror, copy": by_copy,
    "Sling": sling,
    "pandas": pandas_frames,
    "bulk_insert_rows": bulk_insert_rows,
    "row tuples": row_tuples,
}
SLOW = ("pandas", "bulk_insert_rows", "row tuples")
ALSO = {
    "pandas": ("pandas", "sqlalchemy", "sqlalchemy.dialects.postgresql.psycopg"),
    "bulk_insert_rows": ("airflow.providers.clickhousedb.hooks.clickhouse",),
}
"""What else a path's process loads before its clock starts."""


def _clickhouse() -> ClickHouse:
    port, password = int(os.environ["CLICKHOUSE_PORT"]), os.environ["CLICKHOUSE_PASSWORD"]
    return ClickHouse(Path(), port, "bench", password, Path())


def _client() -> Any:
    return _clickhouse().client(compress=False)


def _engine(dsn: str, table: str, **options: str) -> Engine:
    # Imported here, because these imports take a second and `--help` does not need them.
    from include.mirror.engine import Engine, Options
    from include.mirror.source.session import Source
    from include.mirror.warehouse.client import Warehouse

    return Engine(
        replace(VENDAS, tables=[declaration.Table(table, **options)]),  # type: ignore[arg-type]
        Source(dsn, ZoneInfo("UTC")),
        Warehouse(lambda: _clickhouse().client(compress=False), VENDAS.storage, VENDAS.views),
        # What is measured is how rows are moved, and not the search for deleted ones.
        Options(grace=timedelta(milliseconds=1), sweep=None, compare_keys=0),
    )


def _create_target(subject: Subject, client: Any) -> None:
    client.command(f"CREATE DATABASE IF NOT EXISTS {DATABASE}")
    client.command(f"DROP TABLE IF EXISTS {ch(DATABASE, subject.table)} SYNC")
    client.command(subject.create)


def _share(subject: Subject, share: int) -> str:
    return f"WHERE hashtext({pg(subject.key)}::text) % {share} = 0"


def _source_sum(subject: Subject, connection: psycopg.Connection[Any], share: int = 1) -> Money:
    row = connection.execute(
        f"SELECT count(*), sum({pg(subject.money)})::text FROM {pg(subject.table)} {_share(subject, share)}".encode()  # noqa: S608
    ).fetchone()
    return (row[0], row[1]) if row else (0, "0")


def _target_sum(subject: Subject, client: Any, database: str) -> Money:
    rows, total = client.query(
        f"SELECT count(), sum({ch(subject.money)}) FROM {ch(database, subject.table)}"  # noqa: S608
    ).result_rows[0]
    return rows, str(total)


def work(path: str) -> None:
    """Run one path in this process; print time, memory and what arrived as JSON.

    Modules are imported before the clock starts: a task's start-up belongs to Airflow, and is the same for every path.
    """
    for module in (
        "adbc_driver_postgresql.dbapi",
        "clickhouse_connect",
        "include.mirror.run",
        *ALSO.get(path, ()),
    ):
        importlib.import_module(module)
    subject = Subject.given()
    started, cpu_before = time.perf_counter(), _own_cpu()
    rows, total = PATHS[path](subject)
    seconds, cpu = time.perf_counter() - started, _own_cpu() - cpu_before
    used = [
        resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    ]
    print(json.dumps([rows, total, seconds, cpu, max(used)]))


def _own_cpu() -> float:
    """Return the CPU seconds of this process and of the programs that it has run."""
    return sum(os.times()[:4])


def _cpu(process: psutil.Process) -> float:
    """Return the CPU seconds of a server with all of its processes, also of those that have ended."""
    living = [one.cpu_times() for one in process.children(recursive=True)]
    return sum(process.cpu_times()[:4]) + sum(times.user + times.system for times in living)


def _peak_mb(process: psutil.Process, *, begin: bool = False) -> float:
    """Return the peak memory of a process since the last call with `begin`. Linux alone keeps it."""
    folder = Path("/proc") / str(process.pid)
    if not folder.exists():
        return 0.0
    if begin:
        (folder / "clear_refs").write_text("5")
    found = re.search(r"VmHWM:\s+(\d+) kB", (folder / "status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def measure(path: str, environment: dict[str, str], expected: Money, pids: tuple[int, int]) -> Result:
    """Run one path in a process of its own. Raises click.ClickException if the rows that arrived differ from `expected`.

    `pids` are those of PostgreSQL and of ClickHouse.
    """
    source, warehouse = (psutil.Process(pid) for pid in pids)
    before = _cpu(source), _cpu(warehouse)
    _peak_mb(warehouse, begin=True)
    command = [sys.executable, "-m", "local.bench.mirror", "--worker", path]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    if done.returncode:
        raise click.ClickException(f"{path} failed:\n{done.stderr}")
    rows, total, seconds, cpu, memory = json.loads(done.stdout.splitlines()[-1])
    if (rows, total) != expected:
        raise click.ClickException(
            f"{path} delivered {rows} rows worth {total}, not {expected[0]} worth {expected[1]}"
        )
    table = json.loads(environment["BENCH_SUBJECT"])["table"]
    servers = _cpu(source) - before[0], _cpu(warehouse) - before[1]
    return Result(table, path, rows, seconds, cpu, *servers, memory, _peak_mb(warehouse))


def compare(
    tables: Sequence[str], rows: int, rounds: int, console: Console, tool: str | None
) -> list[Result]:
    """Fill a source with about `rows` rows of each table, and run every path `rounds` times, in turn.

    `tool` is Sling's program, None where there is none.
    """
    paths = [path for path in PATHS if tool or path != "Sling"]
    results = []
    with TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL may run as another user
        postgres = Postgres(folder / "pg", free_port(), token_urlsafe(12), folder / "pg.log")
        clickhouse = ClickHouse(folder / "ch", free_port(), "bench", token_urlsafe(12), folder / "ch.log")
        with postgres, clickhouse:
            postgres.create_database("vendas")
            dsn = postgres.dsn("vendas")
            base.create(dsn, indexes=True)
            for table in tables:
                console.print(f"Filling the source with {table}")
                fill(dsn, table, rows)
                with psycopg.connect(dsn, autocommit=True) as connection:
                    connection.execute("VACUUM ANALYZE")
                    connection.execute("CHECKPOINT")
                    subject = Subject.find(table, dsn)
                    expected = {
                        path: _source_sum(subject, connection, SHARE if path in SLOW else 1) for path in paths
                    }
                environment = {
                    **os.environ,
                    "SOURCE_DSN": dsn,
                    "BENCH_SUBJECT": json.dumps(asdict(subject)),
                    "CLICKHOUSE_PORT": str(clickhouse.port),
                    "CLICKHOUSE_PASSWORD": clickhouse.password,
                    "SLING": tool or "",
                }
                for number in range(rounds):
                    for path in paths:
                        with clickhouse.client() as client:
                            for database in (VENDAS.storage, VENDAS.views):
                                client.command(f"DROP DATABASE IF EXISTS {database} SYNC")
                        result = measure(path, environment, expected[path], (postgres.pid, clickhouse.pid))
                        console.print(f"{table}, round {number + 1}: {path:16} {result.rate:>10,.0f} rows/s")
                        results.append(result)
    return results


def fill(dsn: str, table: str, rows: int) -> None:
    """Fill a table with about so many rows, or a share of them where its rows are large."""
    if table in ROWS_PER_SALE:
        bulk(dsn, sales=round(rows / ROWS_PER_SALE[table]), seed=1)
        return
    columns, values, fewer = MADE[table]
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"CREATE TABLE {pg(table)} {columns}".encode())
        connection.execute(
            f"INSERT INTO {pg(table)} SELECT {values} FROM generate_series(1, {rows // fewer}) AS n".encode()  # noqa: S608
        )
        connection.execute(f"CREATE INDEX ON {pg(table)} (updated_at)".encode())


COLUMNS = (
    *("table", "path", "rows", "rows/s", "lowest to highest", "of postgresql()"),
    *("worker CPU s", "PostgreSQL CPU s", "ClickHouse CPU s", "worker peak MB", "ClickHouse peak MB"),
)


def ratio(results: Sequence[Result], table: str, path: str) -> float:
    """Return the median of the rounds' ratios of a path's rate to that of `postgresql()`."""
    ours, theirs = (
        [one.rate for one in results if (one.table, one.path) == (table, of)] for of in (path, PULLER)
    )
    return statistics.median(here / there for here, there in zip(ours, theirs, strict=True))


def rows_of(results: Sequence[Result]) -> list[list[str]]:
    """Return the figures of each table and path as texts: medians, of the rate also the lowest and highest."""
    found = []
    for table, path in dict.fromkeys((result.table, result.path) for result in results):
        runs = [result for result in results if (result.table, result.path) == (table, path)]
        rates = [run.rate for run in runs]

        def median(of: str, runs: Sequence[Result] = runs) -> float:
            return statistics.median(getattr(run, of) for run in runs)

        found.append(
            [
                table,
                path,
                f"{runs[0].rows:,}",
                f"{statistics.median(rates):,.0f}",
                f"{min(rates):,.0f} to {max(rates):,.0f}",
                f"{ratio(results, table, path):.2f}",
                *(f"{median(of):.1f}" for of in ("worker_cpu", "source_cpu", "warehouse_cpu")),
                *(f"{median(of):.0f}" for of in ("worker_mb", "warehouse_mb")),
            ]
        )
    return found


def write_page(page: Path, results: Sequence[Result]) -> None:
    """Replace the figures of the page, and its plot in `images/benchmark.svg` beside it."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    lines += ["| " + " | ".join(row) + " |" for row in rows_of(results)]
    write_figures(page, "figures", [*lines, "", "![Rows per second of each path](images/benchmark.svg)"])
    mpl.rcParams |= {"svg.hashsalt": "benchmark", "svg.fonttype": "none"}
    tables = list(dict.fromkeys(result.table for result in results))
    figure = Figure(figsize=(9, 2.6 * len(tables)), layout="constrained")
    for axes, table in zip(figure.subplots(len(tables), squeeze=False).flat, tables, strict=True):
        paths = list(dict.fromkeys(result.path for result in results if result.table == table))
        rates = [[one.rate for one in results if (one.table, one.path) == (table, path)] for path in paths]
        middle = [statistics.median(one) for one in rates]
        spread = [
            [at - min(one) for at, one in zip(middle, rates, strict=True)],
            [max(one) - at for at, one in zip(middle, rates, strict=True)],
        ]
        colours = ["tab:orange" if path.startswith("mirror") else "tab:gray" for path in paths]
        axes.barh(paths, middle, xerr=spread, color=colours)
        axes.invert_yaxis()
        axes.set_title(table, loc="left")
        axes.set_xlabel("rows per second")
    images = page.parent / "images"
    images.mkdir(exist_ok=True)
    figure.savefig(images / "benchmark.svg", metadata={"Date": None})


@click.command(help=__doc__)
@click.option(
    "--table", "tables", type=click.Choice([*ROWS_PER_SALE, *MADE]), multiple=True, help="[default: three]"
)
@click.option("--rows", type=click.IntRange(1_000), default=1_000_000, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--sling", "tool", type=click.Path(path_type=Path), help="Sling's program, to measure it too")
@click.option("--page", type=click.Path(path_type=Path), help="a page to write the figures into, with a plot")
@click.option(
    "--output", type=click.Path(path_type=Path), default=Path(".local/bench.json"), show_default=True
)
@click.option("--worker", type=click.Choice(list(PATHS)), hidden=True)
def main(
    tables: tuple[str, ...],
    rows: int,
    rounds: int,
    tool: Path | None,
    page: Path | None,
    output: Path,
    worker: str | None,
) -> None:
    """Measure, print the figures, and write them to `output`."""
    if worker:
        work(worker)
        return
    console = Console()
    there = tool is not None and tool.exists()
    if not there:
        console.print(
            f"Sling is not measured: {'no program was given' if tool is None else f'there is no {tool}'}"
        )
    results = compare(tables or TABLES, rows, rounds, console, str(tool) if there else None)
    shown = Table(*COLUMNS, box=None, pad_edge=False)
    for row in rows_of(results):
        shown.add_row(*row)
    Console(width=max(console.width, 170)).print(shown)
    ratios = {table: ratio(results, table, MIRROR) for table in tables or TABLES}
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(
        json.dumps(
            {"ratios": ratios, "sling": there, "results": [asdict(result) for result in results]}, indent=2
        )
    )
    if page is not None:
        write_page(page, results)
    for table, found in ratios.items():
        print(f"{table}: mirror / postgresql() = {found:.2f}")


if __name__ == "__main__":
    main()
