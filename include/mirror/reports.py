"""The report of a reconciliation, and the table `reconciliacoes` that keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from include.mirror.ledger import Attempt
from include.mirror.warehouse.client import Warehouse

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

TABLE = "reconciliacoes"

METHOD = "MD5 of every row, summed up in buckets on both sides; the rows of buckets that differ"

Word = Literal["equal", "repaired", "follows", "differs", "unknown"]
"""A table's state. `follows`: all differing rows were written after the last rows that the mirror has moved."""


@dataclass(frozen=True)
class Report:
    """The comparison of one whole table. The fields are the columns of `reconciliacoes`, whose comments explain them."""

    tabela: str
    word: Word = "unknown"
    reason: str = ""
    method: str = METHOD
    version: int = 0
    rows_source: int = 0
    rows_warehouse: int = 0
    moved: int = 0
    in_flight: int = 0
    coming: int = 0
    missing: int = 0
    extra: int = 0
    different: int = 0
    deleted: int = 0
    repaired: int = 0
    undecided: int = 0
    samples: tuple[str, ...] = ()
    statements: int = 0
    longest: float = 0.0
    only_report: bool = False

    @property
    def wrong(self) -> int:
        """The number of wrong rows, without rows that somebody deleted and without rows that were on their way."""
        return self.missing + self.extra + self.different

    @property
    def is_alarming(self) -> bool:
        """Whether a person should look at the table: rows were wrong, or the table was not proved equal in time."""
        return self.word not in ("equal", "repaired") or self.wrong > 0

    def with_word(self, word: Word, reason: str) -> Report:
        """Return the report with another word and its reason."""
        return replace(self, word=word, reason=reason)

    def __str__(self) -> str:
        found = [
            f"{count:,} {what}"
            for what, count in (
                ("missing", self.missing),
                ("too many", self.extra),
                ("different", self.different),
                ("deleted in the source", self.deleted),
                ("repaired", self.repaired),
                ("on their way", self.in_flight + self.coming),
                ("undecided", self.undecided),
            )
            if count
        ]
        text = f"{self.tabela}: {self.word}, {self.rows_source:,} rows in the source"
        if self.rows_source != self.rows_warehouse:
            text += f" and {self.rows_warehouse:,} in the warehouse"
        return "; ".join(filter(None, (text, ", ".join(found), self.reason, *self.samples)))


def load(values: Mapping[str, Any]) -> Report:
    """Return a report from its fields, given as JSON values."""
    return Report(**{**values, "samples": tuple(values["samples"])})


def write(
    warehouse: Warehouse, client: Client, report: Report, attempt: Attempt, started_at: datetime
) -> None:
    """Write a report to `reconciliacoes`."""
    row: dict[str, Any] = {
        **asdict(report),
        "samples": list(report.samples),
        "run_id": attempt.run_id,
        "try_number": attempt.try_number,
        "started_at": started_at,
        "finished_at": datetime.now(UTC),
    }
    warehouse.insert(client, TABLE, [row])
