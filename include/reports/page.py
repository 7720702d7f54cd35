"""The page of a report: a plot and a table, in one file that loads no other file."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from include.reports.kinds import Filters, Kind

MOST_BARS = 30
MOST_LABEL = 32
INK, BAR, GRID = "#1f2933", "#2f6f9f", "#dde3e9"
TEMPLATE = Path(__file__).with_name("page.html.j2")


@dataclass(frozen=True)
class Report:
    """A query of the warehouse, with its filters and its result."""

    kind: Kind
    filters: Filters
    run_id: str
    made_at: datetime
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]

    def column(self, name: str) -> list[Any]:
        """Return the values of a column."""
        index = list(self.columns).index(name)
        return [row[index] for row in self.rows]

    @property
    def cut(self) -> bool:
        """Return whether the report has reached its limit, so that there may be more rows."""
        return len(self.rows) == self.filters.parameters(self.kind)["limite"]


def render(report: Report) -> str:
    """Return the page as HTML. All values of the warehouse are escaped."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    numeric = {name for name in report.columns if name != report.kind.label and not name.endswith("_id")}
    return environment.from_string(TEMPLATE.read_text()).render(
        report=report,
        numeric=numeric,
        totals={name: _total(report.column(name)) for name in sorted(numeric)},
        rows=[[shown(value) for value in row] for row in report.rows],
        # Matplotlib escapes the texts of the plot.
        plot=Markup(plot(report)) if report.rows else None,  # noqa: S704
        bars=MOST_BARS,
    )


def shown(value: Any) -> str:
    """Return a value as text for people: thousands separated by commas, decimals unchanged."""
    if value is None:
        return "—"
    if isinstance(value, int | Decimal):
        return f"{value:,}"
    return str(value)


def plot(report: Report) -> str:
    """Return the plot as an SVG element: a line over the days, or bars with the largest first."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    # Texts as text elements, in the page's own font; the same element ids in each try.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": report.kind.name, "font.family": "sans-serif"}):
        figure = Figure(figsize=(9, 3.8 if report.kind.timeline else _height(report)), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.subplots()
        (_line if report.kind.timeline else _bars)(report, axes)
        axes.tick_params(colors=INK, length=0, labelsize=9)
        axes.spines[:].set_visible(False)
        axes.set_axisbelow(True)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    # Without the XML prologue, which is not allowed inside a page.
    return text.getvalue().partition("<svg")[1] + text.getvalue().partition("<svg")[2]


def _height(report: Report) -> float:
    return 0.9 + 0.28 * min(len(report.rows), MOST_BARS)


def _line(report: Report, axes: Any) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    points = [
        (day, float(amount))
        for day, amount in zip(
            report.column(report.kind.label), report.column(report.kind.measure), strict=True
        )
        if isinstance(day, date) and amount is not None
    ]
    days, amounts = [day for day, _ in points], [amount for _, amount in points]
    axes.plot(days, amounts, color=BAR, linewidth=1.6, marker="o" if len(points) < 60 else "", markersize=3)
    axes.fill_between(days, amounts, color=BAR, alpha=0.12)
    axes.set_ylim(bottom=0)
    axes.margins(x=0.01)
    locator = AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    _thousands(axes.yaxis, report.kind.unit)
    axes.grid(axis="y", color=GRID)


def _bars(report: Report, axes: Any) -> None:
    names = [_short(value) for value in report.column(report.kind.label)[:MOST_BARS]]
    amounts = [float(value or 0) for value in report.column(report.kind.measure)[:MOST_BARS]]
    # By position, not by name: two products may have the same name.
    places = range(len(names))
    axes.barh(places, amounts, color=BAR, height=0.68)
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.margins(y=0.01)
    _thousands(axes.xaxis, report.kind.unit)
    axes.grid(axis="x", color=GRID)


def _short(value: Any) -> str:
    text = "—" if value is None or value == "" else " ".join(str(value).split())
    text = text if len(text) <= MOST_LABEL else f"{text[: MOST_LABEL - 1]}…"
    # Matplotlib would read a dollar sign as the start of a formula.
    return text.replace("$", r"\$")


def _thousands(axis: Any, unit: str) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_label_text(unit.replace("$", r"\$"), color=INK, fontsize=9)


def _total(values: list[Any]) -> str:
    return shown(sum((value for value in values if value is not None), start=0)) if values else "0"
