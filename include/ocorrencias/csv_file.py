"""`ocorrencias_por_categoria.csv`: at any moment, all lines of a run are in the file once, or none of them.

A line's `datetime` is the run's own time in São Paulo. The file has no column for the run, so this time identifies it.

Appending in place can't guarantee that: a process can be killed in the middle of a write, a machine can lose power, and a
reader can see half of a write. So a new file is written beside the old one, and replaces it in one step. At one or two
lines a minute, it takes years until the copy needs a second.

    1  lock             a lock file beside it; the kernel releases the lock when the process ends
    2  read             the header must be ours; if lines of this run's time are there, they must be this run's: done
    3  write .new       the old bytes, a newline if the last line has none, the run's lines
    4  fsync .new       the bytes are on the disk before the rename
    5  rename           the commit: a reader sees the old file or the new one, each with complete lines
    6  fsync folder     the new name survives a loss of power

Killed after 1 to 4: the old file is unchanged, the next run overwrites `.new`, and a retry begins at 1. Killed after 5 or
6: a retry finds its lines in step 2 and adds nothing. Two processes at once: the second waits at 1, and then reads what
the first has written. If somebody edits the file by hand at the same time, the edit may be lost.

A reader that keeps the file open still reads the old one: use `tail -F`, not `tail -f`. All workers must see the same
folder, on a file system with flock and atomic rename (local ones; NFS 4).
"""

from __future__ import annotations

import csv
import fcntl
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from include.conventions import csv_text
from include.ocorrencias.collection import Contagem
from include.ocorrencias.errors import BusyError, CsvError, DiskError
from include.ocorrencias.models import ZONE

NAME = "ocorrencias_por_categoria.csv"
COLUMNS = ("datetime", "tipo_ocorrencia", "status_ocorrencia", "quantidade_ocorrencia")
HEADER = ",".join(COLUMNS).encode()
BOM = b"\xef\xbb\xbf"
PATIENCE = 60.0
# Errors that stay until a person acts. Others, such as a full disk or a lost mount, may pass.
LASTING = (PermissionError, FileExistsError, NotADirectoryError, IsADirectoryError)


def time_of(moment: datetime) -> str:
    """Return a run's time as the file has it: local time of São Paulo, with a fraction of a second only if there is one."""
    return moment.astimezone(ZONE).replace(tzinfo=None).isoformat(sep=" ")


def append(folder: Path, moment: datetime, counts: Sequence[Contagem], patience: float = PATIENCE) -> int:
    """Add a run's lines unless they are there; return how many were added.

    Raises CsvError when the file has another header or other lines of this time, or when the folder is not writable;
    DiskError when writing fails for another reason; BusyError when another process holds the lock for more than
    `patience` seconds.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # If the name is a symbolic link, replace the link's target, not the link.
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
            f"{path} begins with {header[:200]!r}; it must begin with {HEADER.decode()}: move it away; nothing was written"
        )
    if there:
        if sorted(csv.reader(there)) != sorted(
            csv.reader(_lines(text, counts, "\n").splitlines(keepends=True))
        ):
            raise CsvError(
                f"{path} has other lines of {text}, from another run with this time; nothing was written"
            )
        return 0
    if header is not None and not counts:
        return 0
    # Keep the file's own line ending: the lines of earlier years end in \r\n.
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
    """Return the header (None if the file is missing or empty), whether the last line is complete, this time's lines."""
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
    return csv_text.lines(
        ((text, one.tipo, one.status, one.quantidade) for one in counts), newline, exact=True
    )


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
