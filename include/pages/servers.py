"""Whether the server that a DAG needs answers: a deployment may leave out the servers of a whole domain."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from functools import partial

from include.conventions.servers import NEEDED
from include.conventions.tags import Tag
from include.pages.warehouse.look import Cache, error_line

HELP = {Tag.LOJA: "make local-loja runs the store's servers on one machine."}
"""What helps if the server that DAGs with a tag need does not run."""
SECONDS = 1.0

_cache: Cache[str | None] = Cache(30)


def lacking(tags: Iterable[str]) -> str | None:
    """Return which server of a DAG with these tags does not answer and what helps, None if all answer."""
    for tag, (connection, port) in NEEDED.items():
        if tag in tags and (problem := _cache.get(connection, partial(problem_of, connection, port))):
            return f"{problem} This DAG needs it. {HELP[tag]}"
    return None


def problem_of(name: str, port: int) -> str | None:
    """Return why the server of a connection can't be reached, None if it can. `port` is used if it names none."""
    from include.conventions.connections import find
    from include.conventions.errors import ConfigurationError

    try:
        found = find(name)
    except ConfigurationError as error:
        return f"{error}."
    address = (found.host or "", found.port or port)
    try:
        socket.create_connection(address, SECONDS).close()
    except (OSError, OverflowError) as error:
        return f"The server of connection {name} does not answer at {address[0]}:{address[1]}: {error_line(error)}."
    return None
