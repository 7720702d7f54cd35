"""ClickHouse on one machine without Docker: one process runs the chDB engine and serves ClickHouse's HTTP interface.

    CLICKHOUSE_PASSWORD=… python -m local.servers.clickhouse --data DIR --port N --user NAME

It is for development, tests and demonstrations on a single machine: one user, loopback only, no cluster, no native protocol,
no TLS. In production, use a real ClickHouse server. A client of clickhouse-connect may notice these differences:

- It can't reach files, other programs or URLs: no file(), url(), s3(), no dictionaries, no INFILE and OUTFILE, no table
  function format(), and only table engines that need none of them. postgresql() works. currentUser() is `default`. If the
  kernel has Landlock, it confines the process to the data folder; the first line of the log tells whether it does.
- Settings that could contain a path, an address or an expression can't be changed (SETTING_CONSTRAINT_VIOLATION).
- A statement must be ASCII, except in strings, quoted identifiers and comments. Its maximum size is 256 KiB; with
  max_query_size among the settings of the request, up to 16 MiB. VALUES may contain expressions if they have at most 1 MiB.
- Unless the client sets wait_end_of_query=0, an answer begins after 1 MiB of its result, so an early error is the status.
- Every INSERT is acknowledged when it is written, also with async_insert. An incomplete body writes nothing.
- If a client disconnects, its statement is cancelled, whatever kind it is; a server cancels only reading statements.
- The answer has the client's query id, but system.processes and KILL QUERY use the engine's own ids. There is no
  system.query_log.
- In the Native format, DateTime('zone') arrives without its zone, as the same instant; DateTime64 keeps its zone.
- No progress headers: for statements longer than 300 s, set a longer send_receive_timeout in the client.
- input() needs its structure as an argument. Its data is first written to a temporary table. A view or table on input(),
  which could read nothing, is refused, and so is data after FORMAT that no input() reads.
- ClickHouse's own compressed blocks (compress=1, decompress=1) and Brotli are refused. lz4, zstd, gzip and deflate work, as
  Content-Encoding and Accept-Encoding.
"""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from local.servers.server import Server


class ClickHouse(Server):
    """The service as a child process on 127.0.0.1:`port`, with its data in the folder `data`.

    A `short_lived` one is for tests. It takes half the time for DDL, but a power cut may lose tables, and it compiles no
    expression, which pays only where many rows are read. A killed process loses nothing either way.
    """

    name = "clickhouse"

    def __init__(
        self, data: Path, port: int, user: str, password: str, log: Path, short_lived: bool = False
    ) -> None:
        super().__init__(port, log)
        self.data = data
        self.short_lived = short_lived
        self.user = user
        self.password = password

    def command(self) -> list[str]:
        """Return the argument vector. The password is passed in the environment."""
        return [
            *(sys.executable, "-m", "local.servers.clickhouse"),
            *("--data", str(self.data), "--port", str(self.port), "--user", self.user),
            *(["--short-lived"] if self.short_lived else []),
        ]

    def environment(self) -> dict[str, str]:
        """Return the environment with the password, and with this repository on the module path."""
        root = str(Path(__file__).resolve().parents[3])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        return {
            **super().environment(),
            "CLICKHOUSE_PASSWORD": self.password,
            "PYTHONPATH": os.pathsep.join(paths),
        }

    def ready(self) -> bool:
        """Return True once /ping answers while the process started here runs."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ping", timeout=2) as answer:
                return answer.read() == b"Ok.\n" and self.process is not None and self.process.poll() is None
        except (urllib.error.URLError, OSError):
            return False

    def client(self, **kwargs: Any) -> Any:
        """Return a clickhouse-connect client for this service; keyword arguments go to `get_client`."""
        import clickhouse_connect

        return clickhouse_connect.get_client(
            host="127.0.0.1", port=self.port, username=self.user, password=self.password, **kwargs
        )
