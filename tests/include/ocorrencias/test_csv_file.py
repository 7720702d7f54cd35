"""The CSV file: whole at any moment, for any reader, through kills at every line of the code; a run once."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.ocorrencias.collection import Contagem
from include.ocorrencias.csv_file import COLUMNS, NAME, append, time_of
from include.ocorrencias.errors import BusyError, CsvError, DiskError
from local.waiting import until

ROOT = Path(__file__).resolve().parents[3]
HEADER = ",".join(COLUMNS)
MOMENT = datetime(2026, 11, 20, 12, 40, tzinfo=UTC)
COUNTS = [Contagem('Queda de "árvore", fiação', "ABERTO", 2), Contagem("Acidente", "FECHADO", 1)]
LINES = '2026-11-20 09:40:00,"Queda de ""árvore"", fiação",ABERTO,2\n2026-11-20 09:40:00,Acidente,FECHADO,1\n'

QUOTED = (
    f'{HEADER}\n"2026-11-20 09:40:00","Acidente","FECHADO","1"\n'
    '"2026-11-20 09:40:00","Queda de ""árvore"", fiação","ABERTO","2"'
)

# Appends in a forked child that is killed when it has run `kill` lines of csv_file.py, for kill = 1, 2, …; a line of
# output for each. The parent has not imported anything that would mind a fork.
KILLED_AT_EVERY_LINE = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from include.ocorrencias import csv_file
from include.ocorrencias.collection import Contagem

folder, moment = Path(sys.argv[1]), datetime.fromisoformat(sys.argv[2])
counts = [Contagem("Acidente", "FECHADO", number) for number in range(int(sys.argv[3]))]
kill = 0
while True:
    kill += 1
    child = os.fork()
    if child == 0:
        left = kill
        def trace(frame, event, _):
            global left
            if frame.f_code.co_filename != csv_file.__file__:
                return None
            if event == "line":
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return trace
        sys.settrace(trace)
        csv_file.append(folder, moment, counts, patience=5)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print("killed" if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status), flush=True)
    sys.stdin.readline()  # the test looks at the file now
    if not os.WIFSIGNALED(status):
        break
"""

WRITER = """
import sys
from datetime import datetime, timedelta
from pathlib import Path
from include.ocorrencias import csv_file
from include.ocorrencias.collection import Contagem
counts = [Contagem("Acidente", "FECHADO", number) for number in range(50)]
print(flush=True)
for number in range(int(sys.argv[3])):
    moment = datetime.fromisoformat(sys.argv[2]) + timedelta(minutes=20 * number)
    csv_file.append(Path(sys.argv[1]), moment, counts)
"""


def program(text: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", text, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_header_once_and_a_run_once(tmp_path):
    assert append(tmp_path, MOMENT, COUNTS) == 2
    assert append(tmp_path, MOMENT, COUNTS) == 0
    assert (tmp_path / NAME).read_text() == f"{HEADER}\n{LINES}"
    append(tmp_path, MOMENT + timedelta(minutes=20), COUNTS[1:])
    assert (tmp_path / NAME).read_text() == f"{HEADER}\n{LINES}2026-11-20 10:00:00,Acidente,FECHADO,1\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == [f".{NAME}.lock", NAME]


def test_a_run_without_incidents_leaves_a_file_with_a_header(tmp_path):
    assert append(tmp_path, MOMENT, []) == 0
    assert append(tmp_path, MOMENT, []) == 0
    assert (tmp_path / NAME).read_text() == f"{HEADER}\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"{HEADER}\nx,y,z,1", f"{HEADER}\nx,y,z,1\n{LINES}"),
        (HEADER, f"{HEADER}\n{LINES}"),
        ("", f"{HEADER}\n{LINES}"),
        (f"\ufeff{HEADER}\n", f"\ufeff{HEADER}\n{LINES}"),
        (f"{HEADER}\r\nx,y,z,1\r\n", f"{HEADER}\r\nx,y,z,1\r\n" + LINES.replace("\n", "\r\n")),
        (QUOTED, QUOTED),
    ],
    ids=[
        "no last newline",
        "header alone",
        "empty",
        "byte order mark",
        "of the old flow",
        "quoted by an editor",
    ],
)
def test_a_file_that_somebody_else_has_touched(tmp_path, before, after):
    (tmp_path / NAME).write_bytes(before.encode())
    append(tmp_path, MOMENT, COUNTS)
    assert (tmp_path / NAME).read_bytes() == after.encode()


@pytest.mark.parametrize("before", ["datetime,tipo\n", "data;tipo;status;n\n1;2;3;4\n", "\n", f"x{HEADER}\n"])
def test_another_header_is_an_error_and_nothing_is_written(tmp_path, before):
    (tmp_path / NAME).write_text(before)
    with pytest.raises(CsvError, match=r"must begin with datetime,tipo_ocorrencia.*nothing was written"):
        append(tmp_path, MOMENT, COUNTS)
    assert (tmp_path / NAME).read_text() == before


@pytest.mark.parametrize("counts", [COUNTS[1:], [], [*COUNTS[1:], Contagem("Outro", "ABERTO", 2)]])
def test_another_run_of_the_same_time_is_an_error_and_nothing_is_written(tmp_path, counts):
    append(tmp_path, MOMENT, COUNTS)
    with pytest.raises(CsvError, match="other lines of 2026-11-20 09:40:00, from another run with this time"):
        append(tmp_path, MOMENT, counts)
    assert (tmp_path / NAME).read_text() == f"{HEADER}\n{LINES}"


def test_a_full_disk_may_heal_and_the_file_stands(tmp_path):
    append(tmp_path, MOMENT, COUNTS)
    unfinished = tmp_path / f".{NAME}.new"
    unfinished.symlink_to("/dev/full")
    with pytest.raises(DiskError, match="No space left on device"):
        append(tmp_path, MOMENT + timedelta(minutes=20), COUNTS)
    assert (tmp_path / NAME).read_text() == f"{HEADER}\n{LINES}"
    unfinished.unlink()
    assert append(tmp_path, MOMENT + timedelta(minutes=20), COUNTS) == 2


def test_a_folder_that_is_none_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CsvError, match=f"file/{NAME} can't be written: "):
        append(tmp_path / "file", MOMENT, COUNTS)


def test_mode_and_link_stay(tmp_path):
    real = tmp_path / "elsewhere.csv"
    real.write_text(f"{HEADER}\n")
    real.chmod(0o640)
    (tmp_path / NAME).symlink_to(real)
    append(tmp_path, MOMENT, COUNTS)
    assert (tmp_path / NAME).is_symlink()
    assert real.read_text() == f"{HEADER}\n{LINES}"
    assert real.stat().st_mode & 0o777 == 0o640


def test_the_time_is_that_of_sao_paulo_and_exact():
    assert time_of(MOMENT) == "2026-11-20 09:40:00"
    assert time_of(MOMENT + timedelta(microseconds=5)) == "2026-11-20 09:40:00.000005"


@given(
    st.lists(
        st.builds(
            Contagem, st.text(st.characters(exclude_categories=["Cs", "Cc"])), st.just("A"), st.integers(0)
        ),
        max_size=4,
    )
)
def test_whatever_a_title_holds_a_csv_reader_gets_it_back(tmp_path_factory, counts):
    folder = tmp_path_factory.mktemp("csv")
    append(folder, MOMENT, counts)
    with (folder / NAME).open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    assert rows == [[time_of(MOMENT), one.tipo, one.status, str(one.quantidade)] for one in counts]


@pytest.mark.parametrize("there", [b"", f"{HEADER}\n{LINES}".encode(), f"{HEADER}\nby,hand,x,1".encode()])
def test_killed_at_every_line_the_file_has_all_of_the_run_or_nothing(tmp_path, there):
    path = tmp_path / NAME
    if there:
        path.write_bytes(there)
    moment = MOMENT + timedelta(days=1)
    ours = "".join(f"2026-11-21 09:40:00,Acidente,FECHADO,{number}\n" for number in range(3)).encode()
    whole = (there or f"{HEADER}\n".encode()) + (b"\n" if there and not there.endswith(b"\n") else b"") + ours
    killed, seen = 0, set()
    with program(KILLED_AT_EVERY_LINE, tmp_path, moment.isoformat(), 3) as writer:
        assert writer.stdin
        assert writer.stdout
        for said in writer.stdout:
            content = path.read_bytes() if path.exists() else b""
            assert content in (there, whole)
            if said != "killed\n":
                break
            killed += 1
            seen.add(content == whole)
            # Begin each time from the same file, with whatever else the kill has left behind.
            path.write_bytes(there) if there else path.unlink(missing_ok=True)
            writer.stdin.write("\n")
            writer.stdin.flush()
        writer.stdin.close()
    assert said == "0\n"
    assert path.read_bytes() == whole
    assert killed > 40
    assert seen == {True, False}
    # A retry after the commit finds its lines.
    assert append(tmp_path, moment, [Contagem("Acidente", "FECHADO", number) for number in range(3)]) == 0
    assert path.read_bytes() == whole


def grown(path: Path, size: int) -> bool:
    return path.stat().st_size > size


def test_killed_at_random_in_a_large_file_under_the_eyes_of_a_reader(tmp_path):
    path = tmp_path / NAME
    path.write_text(HEADER + "\n" + "2020-01-01 00:00:00,Acidente,FECHADO,1\n" * 200_000)
    torn: list[int] = []
    reads = 0
    over = threading.Event()

    def read() -> None:
        nonlocal reads
        while not over.is_set():
            content = path.read_bytes()
            lines = content.splitlines()
            blocks = (len(lines) - 1 - 200_000) / 50
            if not content.endswith(b"\n") or blocks != int(blocks):
                torn.append(len(content))
            reads += 1

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(4):
            writer = program(WRITER, tmp_path, MOMENT.isoformat(), 1000)
            assert writer.stdout
            writer.stdout.readline()
            until(partial(grown, path, path.stat().st_size), 60, "the first lines of this writer")
            time.sleep(0.03 * number)
            writer.send_signal(signal.SIGKILL)
            writer.communicate()
    finally:
        over.set()
        reader.join()
    assert torn == []
    assert reads > 10
    added = path.read_text().splitlines()[200_001:]
    assert len(added) == len(set(added)) > 0


def test_two_writers_at_once_leave_every_run_once(tmp_path):
    writers = [program(WRITER, tmp_path, MOMENT.isoformat(), 60) for _ in range(2)]
    writers.append(program(WRITER, tmp_path, (MOMENT + timedelta(minutes=20 * 30)).isoformat(), 60))
    assert [writer.communicate(timeout=60) and writer.returncode for writer in writers] == [0, 0, 0]
    header, *lines = (tmp_path / NAME).read_text().splitlines()
    assert header == HEADER
    assert len(lines) == len(set(lines)) == 90 * 50


def test_a_lock_that_is_held_is_told_of_and_the_dead_hold_none(tmp_path):
    holder = program(
        "import sys, fcntl; file = open(sys.argv[1], 'ab'); fcntl.flock(file, fcntl.LOCK_EX); print(); input()",
        tmp_path / f".{NAME}.lock",
    )
    assert holder.stdout
    holder.stdout.readline()
    with pytest.raises(BusyError, match=r"another process has held .*\.lock for 0.1 s"):
        append(tmp_path, MOMENT, COUNTS, patience=0.1)
    holder.kill()
    holder.communicate()
    assert append(tmp_path, MOMENT, COUNTS, patience=0.1) == 2
