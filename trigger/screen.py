"""Print results, progress and errors, and format values."""

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
    """Return the text without control characters, with which a log could rewrite the terminal."""
    text = re.sub(r"\x1b\[[0-?]*[ -/]*[@-~]", "", text)
    return "".join(character for character in text if character.isprintable() or character in "\t\n")


def cell(value: Any) -> Text:
    text = clean("-" if value is None else str(value))
    return Text(text, style=COLOURS.get(text, ""))


def wall_clock(instant: datetime | None) -> str | None:
    """Return an instant in the user's local time, with its offset."""
    if instant is None:
        return None
    try:
        local = instant.astimezone()
    except OverflowError:  # in year 1 or 9999
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


def redirect_to_devnull(stream: TextIO) -> None:
    """Redirect a stream without a reader to /dev/null."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class _Beside(Console):
    def on_broken_pipe(self) -> None:
        # The wait continues without a reader, and its exit code is still right.
        self.quiet = True
        redirect_to_devnull(sys.stderr)


class Screen:
    """Prints results to standard output, and everything else to standard error."""

    def __init__(self, form: str, verbose: bool) -> None:
        self.form = form
        self.verbose = verbose
        if form == "yaml":
            _yaml(None)  # fails here, before anything is created, if the library is missing
        self.beside = _Beside(stderr=True, highlight=False, markup=False, soft_wrap=True)
        # In a file or a pipe, nothing is cut or wrapped.
        self.width = Console().width if sys.stdout.isatty() else 10_000
        self._secrets: list[str] = []

    def hide(self, *values: str | None) -> None:
        """Replace these secrets in all later output."""
        self._secrets.extend(value for value in values if value)

    def _without_secrets(self, text: str) -> str:
        for secret in self._secrets:
            # Only as a whole word: a short password may be part of other words.
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "***", text)
        # Logins in URLs of a proxy or a redirection.
        return clean(re.sub(r"(?<=//)[^/\s@]+@", "***@", text))

    def say(self, text: str) -> None:
        """Print a line about progress."""
        self.beside.print(Text(self._without_secrets(text)))

    def warn(self, text: str) -> None:
        """Print a warning."""
        self.beside.print(Text.assemble(("warning: ", "yellow"), self._without_secrets(text)))

    def fail(self, text: str) -> None:
        """Print an error."""
        self.beside.print(Text.assemble(("error: ", "red"), self._without_secrets(text)))

    def trace(self, text: str) -> None:
        """Print requests and answers, with --verbose."""
        if self.verbose:
            self.beside.print(Text(self._without_secrets(text), style="dim"))

    def show(self, data: Any, table: Callable[[], Table | Group], plain: Iterable[Sequence[Any]]) -> None:
        """Print a result in the form of --output."""
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
                # Some terminals interpret these control characters too; surrogates can't be encoded.
                text = re.sub("[\x7f-\x9f\ud800-\udfff]", lambda odd: f"\\u{ord(odd[0]):04x}", text)
                click.echo(text if self.form == "json" else _yaml(json.loads(text), unicode).rstrip("\n"))
            sys.stdout.flush()
        except OSError as error:
            redirect_to_devnull(sys.stdout)
            # A closed pipe is not an error: the reader may stop early, and the exit code stays.
            if not isinstance(error, BrokenPipeError):
                raise TriggerError(f"the result can't be written: {error.strerror}") from None


def _isoformat(value: datetime) -> str:
    return value.isoformat()


def _yaml(data: Any, unicode: bool = True) -> str:
    try:
        import yaml  # only this form of output needs it
    except ImportError:
        raise RequestRefused("--output yaml needs PyYAML: pip install PyYAML, or use --output json") from None
    text: str = yaml.safe_dump(data, sort_keys=False, allow_unicode=unicode, width=1000)
    return text
