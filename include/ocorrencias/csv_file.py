"""`ocorrencias_por_categoria.csv`: the lines of a run are in it whole and once, or not at all, at any moment.

A line's `datetime` is the run's own time in São Paulo, and so the run's name in a file that has no column for it.

An append in place could not hold that promise: a process can be killed between two pages of one write, a machine can
lose power in it, and a reader can see its first half. So the file is written anew beside the old one, and takes its
place in one step. At a line or two a minute, it takes years until copying it takes a second.

    1  lock             a lock file beside it, held by the kernel: it goes with the process
    2  read             the header must be ours; lines with this run's time must be its own, and then all is done
    3  write .new       the old bytes, a newline if the last line has none, our lines
    4  fsync .new       the bytes are on the disk before anything points to them
    5  rename           a reader has the old file or the new one, each of whole lines; the commit
    6  fsync folder     the new name outlives a loss of power

Killed after 1 to 4: the old file stands, `.new` is written over by the next run, a retry begins from 1. Killed after
5 or 6: a retry finds its line in step 2 and adds nothing. Two at once: the second waits at 1, and then reads what the
first has written. A file that somebody edits by hand meanwhile may lose that edit, as with any editor.

A reader that keeps the file open goes on reading the old one: `tail -F` follows, `tail -f` doesn't. Every worker must
see the same folder, on a file system with flock and atomic rename (local ones; NFS 4).
"""

from __future__ import annotations

import csv
import fcntl
import io
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from include.ocorrencias.collection import Contagem
from include.ocorrencias.errors import BusyError, CsvError, DiskError
from include.ocorrencias.models import ZONE

NAME = "ocorrencias_por_categoria.csv"
COLUMNS = ("datetime", "tipo_ocorrencia", "status_ocorrencia", "quantidade_ocorrencia")
HEADER = ",".join(COLUMNS).encode()
BOM = b"\xef\xbb\xbf"
PATIENCE = 60.0
# A full disk is emptied and a mount comes back; these stay until somebody mends them.
LASTING = (PermissionError, FileExistsError, NotADirectoryError, IsADirectoryError)


def time_of(moment: datetime) -> str:
    """Return a run's time as the file has it: the wall clock of São Paulo; a fraction of a second only if there is one."""
    return moment.astimezone(ZONE).replace(tzinfo=None).isoformat(sep=" ")


def append(folder: Path, moment: datetime, counts: Sequence[Contagem], patience: float = PATIENCE) -> int:
    """Add a run's lines unless they are there; return how many were added.

    Raises CsvError when the file has another header, or other lines of this time, or the folder is not ours to write in,
    DiskError when writing failed in another way, BusyError when another process holds the lock for more than `patience`
    seconds.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Where the name is a link, the file that it leads to is the one to be replaced.
        path = Path(os.path.realpath(folder / NAME))
        with _locked(path, patience):
            return _replace(path, time_of(moment), counts)
    except OSError as error:
        kind = CsvError if isinstance(error, LASTING) else DiskError
        raise kind(f"{folder / NAME} can't be written: {error}") from None


def _replace(path: Path, text: str, counts: Sequence[Contagem]) -> int:
    header, ends_whole, there = _look(path, text)
    if header is not None and header.removeprefix(BOM).rstrip(b"\r\n").replace(b'"', b"") != HEADER:
        raise CsvError(
            f"{path} begins with {header[:200]!r}, and must begin with {HEADER.decode()}: move it away; nothing was written"
        )
    if there:
        if sorted(csv.reader(there)) != sorted(
            csv.reader(_lines(text, counts, "\n").splitlines(keepends=True))
        ):
            raise CsvError(
                f"{path} has other lines of {text}: another run has this time; nothing was written"
            )
        return 0
    if header is not None and not counts:
        return 0
    # As the file has it: those of earlier years end in \r\n.
    newline = "\r\n" if header is not None and header.endswith(b"\r\n") else "\n"
    unfinished = path.with_name(f".{path.name}.new")
    with unfinished.open("wb") as target:
        if header is None:
            target.write(HEADER + newline.encode())
        else:
            with path.open("rb") as source:
                shutil.copyfileobj(source, target, 2**20)
            if not ends_whole:
                target.write(newline.encode())
        target.write(_lines(text, counts, newline).encode())
        target.flush()
        os.fsync(target.fileno())
    if header is not None:
        shutil.copymode(path, unfinished)
    os.replace(unfinished, path)
    _sync(path.parent)
    return len(counts)


def _look(path: Path, text: str) -> tuple[bytes | None, bool, list[str]]:
    """Return the header (None without a file, or with an empty one), whether the last line ends, the lines of this time."""
    ours = (f"{text},".encode(), f'"{text}",'.encode())
    try:
        with path.open("rb") as file:
            header = last = file.readline()
            there = []
            for last in file:
                if last.startswith(ours):
                    there.append(last.decode(errors="replace"))
    except FileNotFoundError:
        return None, True, []
    return header or None, last.endswith(b"\n"), there


def _lines(text: str, counts: Sequence[Contagem], newline: str) -> str:
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator=newline)
    writer.writerows((text, one.tipo, one.status, one.quantidade) for one in counts)
    return lines.getvalue()


@contextmanager
def _locked(path: Path, patience: float) -> Iterator[None]:
    end = time.monotonic() + patience
    with path.with_name(f".{path.name}.lock").open("ab") as lock:
        while not _take(lock):
            if time.monotonic() > end:
                raise BusyError(f"another process has held {lock.name} for {patience:g} s")
            time.sleep(0.05)
        yield


def _take(lock: BinaryIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
