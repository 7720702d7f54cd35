"""Decides which errors of the drivers may heal by themselves, so that trying again makes sense."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psycopg
    from clickhouse_connect.driver.exceptions import Error as ClickHouseError

_HEALING_STATES = ("08", "23", "40", "53", "55", "57", "58")
"""Classes of SQLSTATE: connections, a constraint (another process wrote the row first), rollbacks such as a deadlock,
resources, locks, a server that stops, system errors."""

_UNKNOWN_HOST = re.compile(
    r"failed to resolve host|could not translate host name|Name or service not known", re.I
)
_FOR_NOW = re.compile(r"Temporary failure in name resolution|Errno -3|Try again", re.I)
_REFUSES_THE_LOGIN = re.compile(
    r"password authentication failed|no password supplied|authentication failed|role \".*\" does not exist"
    r"|database \".*\" does not exist|no pg_hba.conf entry|not permitted to log in|permission denied for database"
    r"|unsupported frontend protocol|server does not support SSL|certificate verify failed|does not match host name"
    r"|(certificate|private key) file \"[^\"]*\" does not exist|invalid .* value",
    re.I,
)

_REFUSING_CODES = frozenset(
    # Wrong syntax and unknown names, wrong types and values, privileges, users, databases, read-only servers.
    (
        36,
        41,
        43,
        44,
        46,
        47,
        48,
        50,
        53,
        57,
        60,
        62,
        63,
        69,
        70,
        72,
        81,
        122,
        164,
        192,
        193,
        194,
        291,
        349,
        407,
        497,
        516,
    )
)


def state_heals(state: str | None) -> bool:
    """Return whether an error with this SQLSTATE may heal. Without an SQLSTATE, the connection broke, which may."""
    return state is None or state.startswith(_HEALING_STATES)


def postgres_heals(error: psycopg.Error) -> bool:
    """Return whether an error of an open session may heal."""
    return state_heals(error.sqlstate)


def login_heals(text: str) -> bool:
    """Return whether a connection that was refused with this text may be accepted later.

    A wrong password, an unknown role, database or host, and wrong TLS settings stay wrong.
    """
    if _UNKNOWN_HOST.search(text):
        return bool(_FOR_NOW.search(text))
    return not _REFUSES_THE_LOGIN.search(text)


def clickhouse_heals(error: ClickHouseError) -> bool:
    """Return whether an error of ClickHouse, or of the connection to it, may heal."""
    if error.code is not None:
        return error.code not in _REFUSING_CODES
    text = str(error)
    return not (_UNKNOWN_HOST.search(text) and not _FOR_NOW.search(text)) and not re.search(
        r"certificate verify failed|AUTHENTICATION_FAILED|unrecognized setting", text, re.I
    )
