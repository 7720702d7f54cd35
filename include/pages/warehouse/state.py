"""What the page shows of each table, read from the warehouse.

The word per table is the view's `estado`, which include/mirror defines; nothing here computes it again. The page only
makes it worse: a table that was equal, but of which nothing is known for some time, follows.

All is cheap, however many rows there are: the ledger of one day, the reports of the last comparisons, and metadata. Rows
are counted only in small tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from include.conventions import sql
from include.mirror.warehouse.client import utc

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

Word = Literal["differs", "never compared", "follows", "equal"]
ORDER: tuple[Word, ...] = ("differs", "never compared", "follows", "equal")
"""Worst first."""

STALE = timedelta(minutes=15)
"""If the warehouse is further behind than this, a table is not called equal, because newer rows were not checked."""

CELLS = 60
COUNTED = 1_000_000
"""The rows are counted in tables with up to this many stored rows, all tables together."""
SECONDS = 5
"""The time limit of one query."""
FOLDER = "warehouse_page"


@dataclass(frozen=True)
class Window:
    """One read of a table: its kind in the ledger, its range, its rows, and when it ended."""

    kind: str
    inicio: datetime
    fim: datetime
    rows: int
    at: datetime


@dataclass(frozen=True)
class Comparison:
    """What one reconciliation has found in a table. The counts are those of `reconciliacoes`."""

    word: str
    reason: str
    method: str
    rows_source: int
    rows_warehouse: int
    counts: Mapping[str, int]
    samples: Sequence[str]
    only_report: bool
    run_id: str
    at: datetime

    @property
    def found(self) -> str:
        """The counts that are not 0, as one text."""
        return (
            ", ".join(f"{count:,} {what}" for what, count in self.counts.items() if count) or "no difference"
        )


@dataclass(frozen=True)
class Table:
    """A table of a mirror."""

    name: str
    word: Word
    text: str
    checked: str
    reason: str
    way: str
    way_reason: str
    deletes: str
    deletes_reason: str
    lag: float | None
    rows_source: int | None
    rows_warehouse: int | None
    is_exact: bool
    seen_at: datetime
    owed: int
    moved: int = 0
    read_again: int = 0
    moved_again: int = 0
    lag_usual: float | None = None
    lag_most: float | None = None
    windows: Sequence[Window] = ()
    compared: Comparison | None = None


@dataclass(frozen=True)
class Load:
    """A row of the ledger."""

    kind: str
    inicio: datetime
    fim: datetime
    rows: int
    reason: str
    run_id: str
    try_number: int
    at: datetime


@dataclass(frozen=True)
class History:
    """The last comparisons and loads of one table."""

    comparisons: Sequence[Comparison] = field(default_factory=list)
    loads: Sequence[Load] = field(default_factory=list)


def read(client: Client, storage: str, views: str) -> list[Table]:
    """Return the tables of a mirror, worst first. Raises the driver's errors."""
    client.database = views
    states = _rows(client, "SELECT * FROM estado")
    moved = _by_table(client, "read_moved")
    windows = {
        name: [
            Window(kind, utc(start), utc(end), rows, utc(at)) for kind, start, end, rows, at in row["reads"]
        ]
        for name, row in _by_table(client, "read_windows", cells=CELLS).items()
    }
    compared = _by_table(client, "read_compared", tabela="", count=1)
    stored = {
        row["table"]: int(row["stored"])
        for row in _rows(client, sql.text(FOLDER, "read_rows"), storage=storage)
    }
    names = [row["tabela"] for row in states]
    counted = _count(client, {name: stored.get(name, 0) for name in names})
    tables = [
        _table(
            row,
            moved.get(row["tabela"], {}),
            windows.get(row["tabela"], []),
            comparison(compared[row["tabela"]]) if row["tabela"] in compared else None,
            counted.get(row["tabela"]),
            stored.get(row["tabela"]),
        )
        for row in states
    ]
    return sorted(tables, key=lambda table: (ORDER.index(table.word), -(table.lag or 0), table.name))


def history(client: Client, views: str, table: str, count: int = 30) -> History:
    """Return what is known of one table."""
    client.database = views
    return History(
        [
            comparison(row)
            for row in _rows(client, sql.text(FOLDER, "read_compared"), tabela=table, count=count)
        ],
        [
            Load(**{**row, "inicio": utc(row["inicio"]), "fim": utc(row["fim"])})
            for row in (
                {"at": utc(row.pop("finished_at")), **row}
                for row in _rows(client, sql.text(FOLDER, "read_loads"), tabela=table, count=count)
            )
        ],
    )


def comparison(row: Mapping[str, Any]) -> Comparison:
    """Return a row of `reconciliacoes` as a value."""
    names = {
        "missing": "missing",
        "extra": "too many",
        "different": "different",
        "deleted": "deleted in the source",
        "repaired": "repaired",
        "in_flight": "on their way",
        "coming": "coming",
        "undecided": "undecided",
    }
    return Comparison(
        row["word"],
        row["reason"],
        row["method"],
        row["rows_source"],
        row["rows_warehouse"],
        {text: row[name] for name, text in names.items()},
        list(row["samples"]),
        row["only_report"],
        row["run_id"],
        utc(row["finished_at"]),
    )


def status(row: Mapping[str, Any]) -> tuple[Word, str]:
    """Return a table's word and the text of its status, from its row of `estado`."""
    word, lag = row["word"], row["lag_seconds"]
    if word == "differs":
        if row["lacking"]:
            return word, f"differs, lacks {row['lacking']:,} keys"
        wrong = max(0, (row["wrong"] or 0) - (row["repaired"] or 0))
        return (
            word,
            f"differs, {wrong:,} {'key' if wrong == 1 else 'keys'}" if wrong else "differs, set aside",
        )
    if word == "never compared":
        return word, word
    if word == "equal" and lag is not None and lag <= STALE.total_seconds():
        return word, f"equal, compared {moment(row['compared_at'])}"
    if lag is None:
        return "follows", "follows, not complete yet"
    return "follows", f"follows, {duration(lag)} behind"


def checked(row: Mapping[str, Any], compared: Comparison | None = None) -> str:
    """Return how and when a table's word was found. `compared` is its last comparison."""
    if row["word"] == "differs":
        if row["lacking"]:
            return f"counted {moment(row['seen_at'])}: the keys on both sides, at the end of a run"
        if compared is not None and compared.word == "differs":
            return f"compared {moment(compared.at)}: {compared.method}"
        return f"set aside by the run of {moment(row['seen_at'])}"
    if row["compared_at"] is None:
        return "no comparison has proved it equal yet"
    return f"last equal {moment(row['compared_at'])}: {row['compared_by']}"


def moment(value: datetime | None, now: datetime | None = None) -> str:
    """Return a time in UTC: today's without its date."""
    if value is None:
        return "never"
    value, now = utc(value), now or datetime.now(UTC)
    return f"{value:%H:%M}" if value.date() == now.date() else f"{value:%Y-%m-%d %H:%M}"


def duration(seconds: float) -> str:
    """Return a number of seconds as a person says it: 40 s, 12 min, 3 h, 5 days."""
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _table(
    row: Mapping[str, Any],
    moved: Mapping[str, Any],
    windows: Sequence[Window],
    compared: Comparison | None,
    counted: int | None,
    stored: int | None,
) -> Table:
    word, text = status(row)
    return Table(
        name=row["tabela"],
        word=word,
        text=text,
        checked=checked(row, compared),
        reason=row["reason"],
        way=row["way"],
        way_reason=row["way_reason"],
        deletes=row["deletes"],
        deletes_reason=row["deletes_reason"],
        lag=row["lag_seconds"],
        rows_source=row["rows_about"],
        rows_warehouse=stored if counted is None else counted,
        is_exact=counted is not None,
        seen_at=utc(row["seen_at"]),
        owed=row["owed"],
        moved=int(moved.get("moved", 0)),
        read_again=int(moved.get("read_again", 0)),
        moved_again=int(moved.get("moved_again", 0)),
        lag_usual=_lag(moved.get("lag_usual")),
        lag_most=_lag(moved.get("lag_most")),
        windows=windows,
        compared=compared,
    )


def _lag(seconds: float | None) -> float | None:
    # The median of nothing is NaN, which equals nothing.
    return None if seconds is None or seconds != seconds or seconds <= 0 else float(seconds)


def _count(client: Client, stored: Mapping[str, int]) -> dict[str, int]:
    """Return the number of rows of the small tables, the smallest first, until together they are no longer small."""
    from include.mirror import names

    small, total = [], 0
    for name, rows in sorted(stored.items(), key=lambda one: one[1]):
        total += rows
        if total > COUNTED:
            break
        small.append(name)
    if not small:
        return {}
    known = {
        row["name"]
        for row in _rows(client, "SELECT name FROM system.tables WHERE database = currentDatabase()")
    }
    wanted = [
        f"SELECT {names.ch_text(name)} AS tabela, count() AS rows FROM {names.ch(name)}"  # noqa: S608 - quoted
        for name in small
        if name in known
    ]
    if not wanted:
        return {}
    return {row["tabela"]: row["rows"] for row in _rows(client, " UNION ALL ".join(wanted))}


def _by_table(client: Client, query: str, **parameters: Any) -> dict[str, dict[str, Any]]:
    return {row["tabela"]: row for row in _rows(client, sql.text(FOLDER, query), **parameters)}


def _rows(client: Client, query: str, **parameters: Any) -> list[dict[str, Any]]:
    answer = client.query(query, parameters=parameters or None, settings={"max_execution_time": SECONDS})
    return [dict(row) for row in answer.named_results()]
