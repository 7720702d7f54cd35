"""The result of each model in the last run of dbt, which dbt leaves in the warehouse: see dbt/macros/results.sql."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from include.conventions import sql
from include.mirror.warehouse.client import utc

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

DAG_ID = "marts_vendas"
DATABASE = "vendas_marts"
FOLDER = "marts_vendas"
SECONDS = 5
"""The time limit of the query."""


class Problem(NamedTuple):
    """A test that has not passed. With status `warn`, it does not make the run fail."""

    name: str
    status: str
    message: str


@dataclass(frozen=True)
class Model:
    """A model: dbt's status (`success`, `error`, `skipped`) and message, and its tests.

    `built` is when the table that stands was built, None if it never was. `rows` are those that stand, None for a view.
    """

    name: str
    status: str
    seconds: float
    message: str
    tests: int
    passed: int
    problems: Sequence[Problem]
    built: datetime | None
    rows: int | None


@dataclass(frozen=True)
class Build:
    """The last run of dbt that came to its end, which was `at`."""

    at: datetime
    models: Sequence[Model]

    @property
    def failed(self) -> Sequence[Model]:
        """The models that failed by themselves."""
        return [one for one in self.models if one.status not in ("success", "skipped")]

    @property
    def skipped(self) -> Sequence[Model]:
        """The models that were left out because something before them failed."""
        return [one for one in self.models if one.status == "skipped"]

    @property
    def problems(self) -> Sequence[Problem]:
        """The tests that have not passed. A test of several models is one of them."""
        return sorted({problem for one in self.models for problem in one.problems})

    @property
    def is_bad(self) -> bool:
        """Whether the run failed. The warning of a test is no failure."""
        return any(one.status != "success" for one in self.models) or any(
            one.status != "warn" for one in self.problems
        )

    @property
    def summary(self) -> str:
        """How many models were built, and how many tests did not pass, in one line."""
        built = sum(one.status == "success" for one in self.models)
        if count := len(self.problems):
            tests = f", {count} {'test' if count == 1 else 'tests'} did not pass"
        else:
            tests = ", all tests passed" if built == len(self.models) else ""
        return f"{built} of {len(self.models)} models built{tests}"


def read(client: Client) -> Build | None:
    """Return the last run of dbt, None if there was none. Raises the driver's errors."""
    known = client.query(
        "SELECT count() FROM system.tables WHERE database = {marts:String} AND name = 'resultados'",
        parameters={"marts": DATABASE},
        settings={"max_execution_time": SECONDS},
    )
    if known.result_rows == [(0,)]:
        return None
    client.database = DATABASE
    found = client.query(sql.text(FOLDER, "read_results"), settings={"max_execution_time": SECONDS})
    models, ends = [], []
    for name, status, seconds, message, tests, passed, problems, at, built, rows in found.result_rows:
        ends.append(utc(at))
        models.append(
            Model(
                name,
                status,
                seconds,
                message,
                tests,
                passed,
                [Problem(*one) for one in problems],
                utc(built) if built else None,
                rows,
            )
        )
    return Build(max(ends), models) if models else None
