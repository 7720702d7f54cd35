"""Sessions: handles of the engine that a client keeps between requests with its `session_id`.

They are used only in the event loop, so no lock is needed. As on a server, one request at a time may use a session. A
session that is unused for its timeout is closed, with its temporary tables and settings.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from local.servers.clickhouse.engine import Handle
from local.servers.clickhouse.errors import ClickHouseError

DEFAULT_TIMEOUT = 60.0
MAX_TIMEOUT = 3600.0


@dataclass
class _Session:
    handle: Handle | None = None
    busy: bool = True
    expiry: asyncio.TimerHandle | None = None


class Sessions:
    """All open sessions by id."""

    def __init__(self, opened: Callable[[], Awaitable[Handle]]) -> None:
        self._open = opened
        self._sessions: dict[str, _Session] = {}

    async def acquire(self, name: str, must_exist: bool) -> Handle:
        """Return the session's handle for one request; call `release` after it. Raises ClickHouseError 372 or 373."""
        session = self._sessions.get(name)
        if session is None:
            if must_exist:
                raise ClickHouseError(372, "SESSION_NOT_FOUND", f"Session {name} not found")
            session = self._sessions[name] = _Session()
            try:
                session.handle = await self._open()
            except BaseException:
                del self._sessions[name]
                raise
            return session.handle
        if session.busy or session.handle is None:
            raise ClickHouseError(
                373, "SESSION_IS_LOCKED", f"Session {name} is locked by a concurrent client"
            )
        session.busy = True
        if session.expiry is not None:
            session.expiry.cancel()
        return session.handle

    def release(self, name: str, timeout: float) -> None:
        """Release the session. It ends if no request uses it for `timeout` seconds."""
        session = self._sessions[name]
        session.busy = False
        session.expiry = asyncio.get_running_loop().call_later(timeout, self._expire, name)

    def _expire(self, name: str) -> None:
        session = self._sessions.pop(name)
        if session.handle is not None:
            session.handle.close()

    def close(self) -> None:
        """Close every session."""
        for session in self._sessions.values():
            if session.expiry is not None:
                session.expiry.cancel()
            if session.handle is not None:
                session.handle.close()
        self._sessions.clear()


def session_timeout(text: str | None) -> float:
    """Return the request's `session_timeout` in seconds. Raises ClickHouseError if it is not a number or too large."""
    if text is None:
        return DEFAULT_TIMEOUT
    if not text.isdecimal():
        raise ClickHouseError(374, "INVALID_SESSION_TIMEOUT", f"Invalid session timeout: '{text}'")
    timeout = float(text)
    if timeout > MAX_TIMEOUT:
        raise ClickHouseError(
            374,
            "INVALID_SESSION_TIMEOUT",
            f"Session timeout '{text}' is larger than max_session_timeout: {MAX_TIMEOUT:g}. Maximum session timeout "
            "could be modified in configuration file.",
        )
    return timeout
