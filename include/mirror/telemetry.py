"""The mirror's spans and metrics, through OpenTelemetry's API.

The API does nothing until the process sets up an SDK. So the engine needs no switch for it, and whoever runs it decides
where spans and metrics go. docs/monitoring.md lists names, units and attributes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from opentelemetry import metrics, trace
from opentelemetry.trace import Span

from include.mirror.plan import Read, Work
from include.mirror.reports import Report

_tracer = trace.get_tracer("mirror")
_meter = metrics.get_meter("mirror")

_rows = _meter.create_counter("mirror.rows", "{row}", "Rows moved into the warehouse")
_reads = _meter.create_counter("mirror.reads", "{read}", "Windows moved, and windows read again")
_throughput = _meter.create_gauge(
    "mirror.throughput",
    "{row}/s",
    "Rows a second of the last window with rows: extracted, staged and verified",
)
_lag = _meter.create_gauge("mirror.lag", "s", "The source's clock less the end of what is covered")
# A lag that is no longer reported keeps its last value. A dashboard can subtract this time from its own clock instead.
_covered = _meter.create_gauge(
    "mirror.covered_until.timestamp", "s", "The end of what is covered, since 1970"
)
_reconciled = _meter.create_counter(
    "mirror.reconciled",
    "{row}",
    "Rows that reconciliation found wrong or deleted, repaired, or could not judge",
)
_equal = _meter.create_gauge(
    "mirror.equal", "1", "1 where the last comparison left both sides equal, 0 where not"
)
_compared = _meter.create_gauge(
    "mirror.compared.timestamp", "s", "When the snapshot was taken that was compared last, since 1970"
)


@contextmanager
def step(name: str, read: Work | None = None) -> Iterator[Span]:
    """Open a span around one step of a pass, with the table's name if `read` is given. An error marks it as failed."""
    attributes = {} if read is None else _attributes(read)
    title = f"mirror.{name}" if read is None else f"mirror.{name} {read.tabela}"
    with _tracer.start_as_current_span(title, attributes=attributes) as span:
        if isinstance(read, Read):
            span.set_attribute("inicio", read.window.inicio.isoformat())
            span.set_attribute("fim", read.window.fim.isoformat())
        yield span


def moved(mirror: str, read: Work, rows: int, seconds: float) -> None:
    """Count the rows of one read, after its ledger row is written. `seconds` is how long loading took."""
    attributes = {"mirror": mirror, **_attributes(read)}
    _reads.add(1, attributes)
    _rows.add(rows, attributes)
    if rows:
        _throughput.set(rows / seconds, {"mirror": mirror, "table": read.tabela})


def covered(mirror: str, tabela: str, until: datetime, now: datetime) -> None:
    """Report up to which instant a table is covered, and its lag behind the source's clock."""
    attributes = {"mirror": mirror, "table": tabela}
    _covered.set(until.timestamp(), attributes)
    _lag.set((now - until).total_seconds(), attributes)


def reconciled(mirror: str, report: Report) -> None:
    """Report the result of a table's reconciliation."""
    attributes = {"mirror": mirror, "table": report.tabela}
    for found, rows in (
        ("wrong", report.wrong),
        ("deleted", report.deleted),
        ("repaired", report.repaired),
        ("undecided", report.undecided),
    ):
        _reconciled.add(rows, {**attributes, "found": found})
    _equal.set(int(report.word in ("equal", "repaired")), attributes)
    if report.version:
        _compared.set(report.version / 1_000_000, attributes)


def _attributes(read: Work) -> dict[str, str]:
    return {"table": read.tabela, "kind": read.kind}
