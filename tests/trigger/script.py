"""Run trigger_script.py as its users do: in this process, in its own process with pipes, or on a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Self
from unittest import mock

import psutil

import trigger_script
from local.waiting import until

# Seconds; enough for a busy machine. A test that waits this long has failed.
PATIENCE = 120.0
CONTROL = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07|[()][A-Z0-9]|[=>])")


@dataclass(frozen=True)
class Done:
    """The result of a call: its exit code, and its output."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Return standard output, which must be exactly one JSON text."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Script:
    """The script in a folder without other files of the project, and the environment of its calls."""

    path: Path
    environment: Mapping[str, str]

    def having(self, **variables: str | Path | None) -> Script:
        """Return the script with these variables in its environment, without those that are None."""
        changed = {name: None if value is None else str(value) for name, value in variables.items()}
        merged = {**self.environment, **changed}
        return replace(self, environment={name: value for name, value in merged.items() if value is not None})

    def command(self, *arguments: str | Path) -> list[str]:
        """Return the argument vector of a call."""
        return [sys.executable, str(self.path), *map(str, arguments)]

    def __call__(self, *arguments: str | Path, stdin: str = "") -> Done:
        """Call it in this process, as with pipes, and return the result. This saves the start of an interpreter."""
        given, out, err = io.BytesIO(stdin.encode()), io.BytesIO(), io.BytesIO()
        with (
            mock.patch.dict(os.environ, self.environment, clear=True),
            mock.patch.object(sys, "stdin", io.TextIOWrapper(given, "utf-8")),
            mock.patch.object(sys, "stdout", io.TextIOWrapper(out, "utf-8", write_through=True)),
            mock.patch.object(sys, "stderr", io.TextIOWrapper(err, "utf-8", write_through=True)),
            contextlib.chdir(self.path.parent),
        ):
            code = trigger_script.main([str(argument) for argument in arguments])
            # Before the wrappers go, which close what they wrap.
            done = Done(code, out.getvalue().decode(), err.getvalue().decode())
        assert "error: unexpected " not in done.err, done.err
        return done

    def each(self, **calls: tuple[str | Path, ...]) -> dict[str, Done]:
        """Call it with several argument lists, one after another; return the results by name."""
        return {name: self(*call) for name, call in calls.items()}

    def start(self, *arguments: str | Path, stdin: str = "") -> Call:
        """Start a process in pipes, without a terminal; `stdin` is all there is to read."""
        return Call(self, [str(argument) for argument in arguments], stdin)

    def process(self, *arguments: str | Path, stdin: str = "") -> Done:
        """Call it in its own process and return the result."""
        return self.start(*arguments, stdin=stdin).finish()

    def together(self, **calls: tuple[str | Path, ...]) -> dict[str, Done]:
        """Call it with several argument lists at once, each in its own process; return the results by name."""
        started = {name: self.start(*call) for name, call in calls.items()}
        return {name: one.finish() for name, one in started.items()}

    def terminal(self, *arguments: str | Path, columns: int = 60, piped: bool = False) -> Terminal:
        """Start a call on a terminal. With `piped`, its standard output is a pipe."""
        return Terminal(self, [str(argument) for argument in arguments], columns, piped)


class Call:
    """A call in pipes."""

    def __init__(self, script: Script, arguments: list[str], stdin: str) -> None:
        self._process = subprocess.Popen(
            script.command(*arguments),
            env=dict(script.environment),
            cwd=script.path.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # The script must not use the terminal on which pytest runs.
            start_new_session=True,
        )
        self._written: dict[str, list[str]] = {"out": [], "err": []}
        self._readers = [
            threading.Thread(target=self._read, args=(stream, lines))
            for stream, lines in (
                (self._process.stdout, self._written["out"]),
                (self._process.stderr, self._written["err"]),
            )
        ]
        for reader in self._readers:
            reader.start()
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(stdin)
            self._process.stdin.close()

    def _read(self, stream: IO[str], lines: list[str]) -> None:
        with stream:
            for line in stream:
                lines.append(line)

    @property
    def err(self) -> str:
        """The text written to standard error so far."""
        return "".join(self._written["err"])

    def expect(self, text: str) -> None:
        """Wait until standard error contains this text."""

        def ended() -> None:
            if self._process.poll() is not None:
                done = self.finish()
                assert text in done.err, done

        until(lambda: text in self.err, PATIENCE, lambda: f"{text!r} in {self.err}", check=ended, pause=0.05)

    def interrupt(self) -> None:
        """Send SIGINT, as Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)

    def finish(self) -> Done:
        """Wait for the end. If the call does not end, it is killed and the test fails."""
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise AssertionError(f"no end after {PATIENCE:g} s: {self.err}") from None
        finally:
            for reader in self._readers:
                reader.join()
        assert "Traceback" not in self.err, self.err
        assert "Warning: " not in self.err, self.err
        return Done(self._process.returncode, "".join(self._written["out"]), self.err)


class Terminal:
    """A call on a pseudo-terminal. A context manager, which ends the call."""

    def __init__(self, script: Script, arguments: list[str], columns: int, piped: bool) -> None:
        self.raw = ""
        self._end, slave = pty.openpty()
        termios.tcsetwinsize(slave, (40, columns))
        self.process = subprocess.Popen(
            script.command(*arguments),
            env={**script.environment, "TERM": "xterm-256color"},
            cwd=script.path.parent,
            stdin=slave,
            stdout=subprocess.PIPE if piped else slave,
            stderr=slave,
            start_new_session=True,
            # The question for a password opens /dev/tty, which is the session's controlling terminal.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        os.close(self._end)

    @property
    def text(self) -> str:
        """The text written so far, without colours and cursor movements."""
        return CONTROL.sub("", self.raw).replace("\r\n", "\n")

    @property
    def lines(self) -> list[str]:
        """The written lines, with repetitions."""
        return [line for line in re.split(r"[\r\n]", self.text) if line.strip()]

    def expect(self, text: str) -> None:
        """Read until the output contains this text."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.text:
            assert self._read(deadline), f"{text!r} was not written: {self.text}"

    def type(self, text: str) -> None:
        """Type a line."""
        os.write(self._end, f"{text}\n".encode())

    def interrupt(self) -> None:
        """Press Ctrl-C when the call waits for input. Between prompt and read, Python would need a second Ctrl-C."""
        process = psutil.Process(self.process.pid)
        until(lambda: process.status() == psutil.STATUS_SLEEPING, PATIENCE, lambda: self.text, pause=0.05)
        os.write(self._end, b"\x03")

    def finish(self) -> int:
        """Read to the end; return the exit code."""
        deadline = time.monotonic() + PATIENCE
        while self._read(deadline):
            pass
        assert "Traceback" not in self.text, self.text
        return self.process.wait(PATIENCE)

    def piped(self) -> str:
        """Return the output in the pipe. Call it before `finish`, as a pipe's reader would do."""
        assert self.process.stdout is not None
        return self.process.stdout.read().decode()

    def _read(self, deadline: float) -> bool:
        readable, _, _ = select.select([self._end], [], [], max(0.0, deadline - time.monotonic()))
        assert readable, f"nothing more after {PATIENCE:g} s: {self.text}"
        try:
            read = os.read(self._end, 65536)
        except OSError:  # EIO: no process has the terminal open any more
            return False
        self.raw += read.decode(errors="replace")
        return bool(read)


Refused = Mapping[str, tuple[Sequence[str], Sequence[str]]]
"""Calls of `enqueue` that make no sense: by a name, the arguments, and parts of the error."""


def enqueue_refused(script: Script, calls: Refused) -> dict[str, Done]:
    """Return the results of calls that make no sense. Their note says so, if they have arguments."""
    return {
        name: script("enqueue", *given, *(("--note", "makes no sense") if given else ()))
        for name, (given, _) in calls.items()
    }


def assert_refused(done: Done, parts: Sequence[str]) -> None:
    """Check that a call was refused in one line, which has all parts."""
    assert (done.code, done.out) == (2, ""), done.err
    [line] = done.err.splitlines()
    assert line.startswith("error: ")
    assert [part for part in parts if part not in line] == []
