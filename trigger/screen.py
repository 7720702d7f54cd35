"""Where results, progress and complaints are printed, and how a value looks there."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, TextIO

import click
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from trigger.errors import RequestRefused, TriggerError

COLOURS = {
    "success": "green",
    "running": "cyan",
    "failed": "red",
    "upstream_failed": "red",
    "up_for_retry": "yellow",
    "queued": "blue",
    "scheduled": "blue",
    "paused": "yellow",
    "import error": "red",
    "broken": "red",
}


def clean(text: str) -> str:
    """Return text without the control characters by which a log could rewrite the terminal."""
    text = re.sub(r"\x1b\[[0-?]*[ -/]*[@-~]", "", text)
    return "".join(character for character in text if character.isprintable() or character in "\t\n")


def cell(value: Any) -> Text:
    text = clean("-" if value is None else str(value))
    return Text(text, style=COLOURS.get(text, ""))


def wall_clock(instant: datetime | None) -> str | None:
    """Return an instant by the wall clock of who looks, with its offset."""
    if instant is None:
        return None
    try:
        local = instant.astimezone()
    except OverflowError:  # at an end of the calendar
        return str(instant)
    day = "" if local.date() == datetime.now().astimezone().date() else f"{local:%Y-%m-%d} "
    return f"{day}{local:%H:%M:%S %Z}"


def time_taken(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    if seconds < 60:
        return f"{seconds:.1f} s"
    return str(timedelta(seconds=round(seconds)))


def columns(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name, overflow="fold")
    return table


def to_nowhere(stream: TextIO) -> None:
    """Let what is still written to a stream that nobody reads any more end nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class _Beside(Console):
    def on_broken_pipe(self) -> None:
        # A run goes on, and has its exit code, when nobody reads of it.
        self.quiet = True
        to_nowhere(sys.stderr)


class Screen:
    """Where results, progress and complaints go: results to standard output, the rest beside it."""

    def __init__(self, form: str, verbose: bool) -> None:
        self.form = form
        self.verbose = verbose
        if form == "yaml":
            _yaml(None)  # a missing library must show before anything is created
        self.beside = _Beside(stderr=True, highlight=False, markup=False, soft_wrap=True)
        # Into a file or a pipe nothing is cut or folded.
        self.width = Console().width if sys.stdout.isatty() else 10_000
        self._secrets: list[str] = []

    def hide(self, *values: str | None) -> None:
        """Never print these, whoever may say them."""
        self._secrets.extend(value for value in values if value)

    def _without_secrets(self, text: str) -> str:
        for secret in self._secrets:
            # As a word of its own: a short password may be part of many.
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "***", text)
        # Of a proxy or a redirection.
        return clean(re.sub(r"(?<=//)[^/\s@]+@", "***@", text))

    def say(self, text: str) -> None:
        """Tell what happens."""
        self.beside.print(Text(self._without_secrets(text)))

    def warn(self, text: str) -> None:
        """Tell what may be wrong."""
        self.beside.print(Text.assemble(("warning: ", "yellow"), self._without_secrets(text)))

    def fail(self, text: str) -> None:
        """Tell why it ends."""
        self.beside.print(Text.assemble(("error: ", "red"), self._without_secrets(text)))

    def trace(self, text: str) -> None:
        """Tell what is asked and answered, with --verbose."""
        if self.verbose:
            self.beside.print(Text(self._without_secrets(text), style="dim"))

    def show(self, data: Any, table: Callable[[], Table | Group], plain: Iterable[Sequence[Any]]) -> None:
        """Print a result in the form that was asked for."""
        try:
            if self.form == "table":
                console = Console(width=self.width, highlight=False)
                with console.capture() as capture:
                    console.print(table())
                click.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))
            elif self.form == "plain":
                for row in plain:
                    cells = (clean("-" if cell is None else str(cell)) for cell in row)
                    click.echo("\t".join(" ".join(cell.split()) for cell in cells))
            else:
                unicode = sys.stdout.encoding.lower().startswith("utf")
                text = json.dumps(data, indent=2, ensure_ascii=not unicode, default=_isoformat)
                # Some terminals obey these as well; surrogates can't be written at all.
                text = re.sub("[\x7f-\x9f\ud800-\udfff]", lambda odd: f"\\u{ord(odd[0]):04x}", text)
                click.echo(text if self.form == "json" else _yaml(json.loads(text), unicode).rstrip("\n"))
            sys.stdout.flush()
        except OSError as error:
            to_nowhere(sys.stdout)
            # Who reads has seen enough; what this command did keeps its own exit code.
            if not isinstance(error, BrokenPipeError):
                raise TriggerError(f"the result can't be written: {error.strerror}") from None


def _isoformat(value: datetime) -> str:
    return value.isoformat()


def _yaml(data: Any, unicode: bool = True) -> str:
    try:
        import yaml  # the one library that only one form of output needs
    except ImportError:
        raise RequestRefused("--output yaml needs PyYAML: pip install PyYAML, or use --output json") from None
    text: str = yaml.safe_dump(data, sort_keys=False, allow_unicode=unicode, width=1000)
    return text
