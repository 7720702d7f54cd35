"""Whether the server that a DAG needs answers: a deployment may leave out the servers of a whole domain."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from functools import partial

from include.conventions.tags import Tag
from include.pages.warehouse.look import Kept, said

NEEDED = {Tag.LOJA: ("mysql_loja", "make local-loja runs the store's servers on one machine.")}
"""The connection that all DAGs with a tag need, and what helps if its server does not run."""
SECONDS = 1.0

_kept: Kept[str | None] = Kept(30)


def lacking(tags: Iterable[str]) -> str | None:
    """Return which server of a DAG with these tags does not answer and what helps, None if all answer."""
    for tag, (connection, help_) in NEEDED.items():
        if tag in tags and (problem := _kept.get(connection, partial(problem_of, connection))):
            return f"{problem} This DAG needs it. {help_}"
    return None


def problem_of(name: str) -> str | None:
    """Return why the server of a connection can't be reached, None if it can."""
    from include.conventions.connections import find
    from include.conventions.errors import ConfigurationError

    try:
        found = find(name)
    except ConfigurationError as error:
        return f"{error}."
    address = (found.host or "", found.port or 0)
    try:
        socket.create_connection(address, SECONDS).close()
    except (OSError, OverflowError) as error:
        return f"The server of connection {name} does not answer at {address[0]}:{address[1]}: {said(error)}."
    return None
