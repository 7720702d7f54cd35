"""Run the tests that concern a server on its other versions, and print what was run on what.

    python -m tests.versions                  # all
    python -m tests.versions postgres-14      # some

pytest reads more options from PYTEST_ADDOPTS.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic
from xml.etree import ElementTree

from local.servers.debian import DebianError, Unpacked
from local.servers.server import ServerError
from tests.versions import VARIABLE, VERSIONS, Version

# What concerns no server is left out, as is what `make test` leaves out.
MARKS = "server and not soak and not load"


def main(names: list[str]) -> int:
    """Return 1 if a test of some version failed, or a version could not be fetched; otherwise 0."""
    if unknown := [name for name in names if name not in VERSIONS]:
        sys.exit(f"{', '.join(unknown)}: not known, it must be one of {', '.join(VERSIONS)}")
    lines, failed = [], False
    for name in names or VERSIONS:
        line, passed = _run(name, VERSIONS[name])
        lines.append(f"{name:14} {line}")
        failed |= not passed
        print(f"\n{lines[-1]}\n", flush=True)
    print("What was run on what:", *lines, sep="\n")
    return int(failed)


def _run(name: str, version: Version) -> tuple[str, bool]:
    try:
        tree = version.tree()
        number = _number(version, tree)
    except (DebianError, ServerError) as error:
        return f"could not be fetched: {error}", False
    begun = monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "--quiet", "-m", MARKS, f"--junit-xml={report}", *version.tests],
            env={**os.environ, VARIABLE: name},
            check=False,
        )
        counts = ElementTree.parse(report).getroot()[0].attrib if report.exists() else {}  # noqa: S314 (pytest's own)
    failures = int(counts.get("failures", 0)) + int(counts.get("errors", 0))
    passed = int(counts.get("tests", 0)) - failures - int(counts.get("skipped", 0))
    return (
        f"{number:10} {passed} passed, {failures} failed in {monotonic() - begun:.0f} s",
        done.returncode == 0,
    )


def _number(version: Version, tree: Unpacked) -> str:
    """Return the program's version."""
    program = tree.program(version.program)
    if program.is_dir():
        said = " ".join(path.name for path in program.iterdir())
    else:
        said = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout
    found = re.search(r"\d+\.\d+(\.\d+)?", said)
    return found[0] if found else said


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
