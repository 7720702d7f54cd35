"""Charts as inline SVG, without script or inline style. Each bar has a title; the page also shows the numbers in a table."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import log1p

from include.pages.warehouse.state import Window

CELL, GAP = 8, 2
KINDS = {"reread": "again", "rebuild": "again"}


@dataclass(frozen=True)
class Bar:
    """One bar: its name, its value, and the text of both."""

    name: str
    value: float
    text: str


def columns(title: str, bars: Sequence[Bar], width: int = 720, height: int = 160) -> str:
    """Return vertical bars, for values in time."""
    most = max((bar.value for bar in bars), default=0) or 1
    step = width / max(len(bars), 1)
    shapes = "".join(
        f'<rect class="bar" x="{n * step:.2f}" y="{height - tall:.2f}" width="{max(step - min(2, step / 5), 0.5):.2f}" '
        f'height="{tall:.2f}"><title>{html.escape(f"{bar.name}: {bar.text}")}</title></rect>'
        for n, bar in enumerate(bars)
        for tall in [max(1.0, bar.value / most * height) if bar.value else 0.0]
    )
    return (
        f'<svg class="chart columns" viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img" '
        f'aria-label="{html.escape(title, quote=True)}"><title>{html.escape(title)}</title>{shapes}</svg>'
    )


def rows(title: str, bars: Sequence[Bar], width: int = 720) -> str:
    """Return horizontal bars with names, for values that are compared."""
    most = max((bar.value for bar in bars), default=0) or 1
    line, named = 24, 250
    shapes = "".join(
        f"<g><title>{html.escape(f'{bar.name}: {bar.text}')}</title>"
        f'<text class="name" x="{named - 8}" y="{n * line + 16}" text-anchor="end">{html.escape(_short(bar.name))}</text>'
        f'<rect class="bar" x="{named}" y="{n * line + 4}" width="{max(1.0, bar.value / most * (width - named - 110)):.2f}" '
        f'height="{line - 8}"></rect>'
        f'<text class="value" x="{named + bar.value / most * (width - named - 110) + 6:.2f}" y="{n * line + 16}">'
        f"{html.escape(bar.text)}</text></g>"
        for n, bar in enumerate(bars)
    )
    return (
        f'<svg class="chart" viewBox="0 0 {width} {max(len(bars), 1) * line}" role="img" '
        f'aria-label="{html.escape(title, quote=True)}"><title>{html.escape(title)}</title>{shapes}</svg>'
    )


def strip(title: str, windows: Sequence[Window], cells: int) -> str:
    """Return a strip of cells, one per read, oldest first; a fuller cell has more rows, on a logarithmic scale."""
    most = log1p(max((window.rows for window in windows), default=0)) or 1
    width = cells * (CELL + GAP)
    first = cells - len(windows)
    shapes = "".join(
        f'<rect class="cell {KINDS.get(window.kind, "new")}" x="{(first + n) * (CELL + GAP)}" y="{20 - tall:.1f}" '
        f'width="{CELL}" height="{tall:.1f}"><title>{html.escape(_window(window))}</title></rect>'
        for n, window in enumerate(windows)
        for tall in [2 + 18 * log1p(window.rows) / most if window.rows else 2]
    )
    return (
        f'<svg class="strip" viewBox="0 0 {width} 20" role="img" aria-label="{html.escape(title, quote=True)}">'
        f"<title>{html.escape(title)}</title>{shapes}</svg>"
    )


def money(value: Decimal) -> str:
    """Return an amount with two digits."""
    return f"{value:,.2f}"


def _window(window: Window) -> str:
    return f"{window.kind} {window.inicio:%H:%M:%S} to {window.fim:%H:%M:%S}: {window.rows:,} rows"


def _short(name: str) -> str:
    return name if len(name) <= 32 else f"{name[:31]}…"
