"""A request's parameters, and its body, read piece by piece."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from local.servers.clickhouse.codecs import Decoder
from local.servers.clickhouse.errors import ClickHouseError
from local.servers.clickhouse.pipe import PIECE, in_thread
from local.servers.clickhouse.statement import RESERVED

# Up to this size, the rest of a refused request's body is read and dropped.
_LARGEST_DISCARDED = 64 << 20
# The maximum size of a statement: by default, as on a server, and if the client raises max_query_size.
_LONG_STATEMENT = 256 << 10
_LONGEST_STATEMENT = 16 << 20
_FORMAT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*")

# Parameters of the HTTP interface itself; they are not settings of the engine.
_INTERFACE = frozenset(
    {
        "query",
        "database",
        "user",
        "password",
        "quota_key",
        "role",
        "query_id",
        "session_id",
        "session_timeout",
        "session_check",
        "close_session",
        "default_format",
        "compress",
        "decompress",
        "buffer_size",
        "wait_end_of_query",
        "stacktrace",
        "client_protocol_version",
        "enable_http_compression",
        "http_zlib_compression_level",
        "send_progress_in_http_headers",
        "http_headers_progress_interval_ms",
        "cancel_http_readonly_queries_on_client_close",
        "http_wait_end_of_query",
        "http_response_buffer_size",
        "http_write_exception_in_output_format",
        # Checked by `check_allowed`: on a session's handle it could not be unset again.
        "readonly",
        # Holds the handle's tag.
        "log_comment",
        # Ignored: every INSERT is acknowledged when it is written.
        "async_insert",
        "wait_for_async_insert",
    }
)


@dataclass(frozen=True)
class Parameters:
    """The parameters in a request's URL, headers and form, without the statement."""

    url: Mapping[str, str]
    headers: Headers

    def flag(self, name: str) -> bool:
        """Return whether a parameter is 1 or true."""
        return self.url.get(name, "0").lower() in ("1", "true")

    def settings(self, apart_from: frozenset[str]) -> dict[str, str]:
        """Return those parameters that are settings of the engine, except `apart_from`.

        Raises ClickHouseError for a setting that only the service may set.
        """
        settings = {
            name: value
            for name, value in self.url.items()
            if name not in _INTERFACE and name not in apart_from and not name.startswith("param_")
        }
        for name in settings:
            if name.lower().encode() in RESERVED:
                raise ClickHouseError(
                    452, "SETTING_CONSTRAINT_VIOLATION", f"Setting {name} should not be changed"
                )
        return settings

    @property
    def longest_statement(self) -> int:
        """Return the maximum size of a statement, in bytes."""
        asked = self.url.get("max_query_size", "")
        if not asked.isdecimal():
            return _LONG_STATEMENT
        # 0 means no limit.
        return min(int(asked[:20]) or _LONGEST_STATEMENT, _LONGEST_STATEMENT)

    @property
    def query_parameters(self) -> dict[str, str]:
        """Return the values for {name:Type} in the statement."""
        return {
            name.removeprefix("param_"): value
            for name, value in self.url.items()
            if name.startswith("param_")
        }

    @property
    def database(self) -> str | None:
        """Return the database of this request, or None for the session's."""
        return self.url.get("database") or self.headers.get("x-clickhouse-database") or None

    @property
    def default_format(self) -> str:
        """Return the format of a result if the statement names none."""
        return self.url.get("default_format") or self.headers.get("x-clickhouse-format") or "TabSeparated"

    @property
    def waits_for_end(self) -> bool:
        """Return whether the answer may be sent only after the statement has ended."""
        return self.flag("wait_end_of_query") or self.flag("http_wait_end_of_query")

    @property
    def waits_for_nothing(self) -> bool:
        """Return whether the client wants the result as it comes. Only then does a small result begin before its end."""
        return self.url.get("wait_end_of_query", "").lower() in ("0", "false") and not self.waits_for_end

    @property
    def encodings(self) -> str:
        """Return the Accept-Encoding header, or an empty text if compression is off."""
        return self.headers.get("accept-encoding", "") if self.flag("enable_http_compression") else ""


def check_format(text: str) -> None:
    """Raise ClickHouseError if a format's name is not one word."""
    if not _FORMAT_NAME.fullmatch(text):
        raise ClickHouseError(73, "UNKNOWN_FORMAT", f"Unknown format {text!r}")


class Body:
    """A request's body, decompressed. Raises ClientDisconnect if it is incomplete."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.ended = False

    async def receive(self) -> Message:
        """Return the connection's next message; for code that reads the body without this class."""
        message = await self._receive()
        if message["type"] == "http.request":
            self.ended = not message.get("more_body", False)
        return message

    async def _next(self) -> bytes:
        message = await self.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        data: bytes = message.get("body", b"")
        return data

    async def read_into(self, text: bytearray, decode: Decoder, limit: int) -> bool:
        """Read until `text` has more than `limit` bytes; return whether the body ended before."""
        while len(text) <= limit:
            if decode.pending:
                text += await in_thread(decode.feed, b"")
            elif self.ended:
                decode.finish()
                return True
            else:
                text += decode.feed(await self._next())
        return False

    async def spool(self, decode: Decoder, file: IO[bytes]) -> None:
        """Write the rest of the body to `file`. At most one piece is in memory at a time."""
        if decode.pending:
            await self._write(decode, [b""], file)
        while not self.ended:
            pieces: list[bytes] = []
            size = 0
            while not self.ended and size < PIECE:
                pieces.append(await self._next())
                size += len(pieces[-1])
            await self._write(decode, pieces, file)
        decode.finish()

    async def _write(self, decode: Decoder, pieces: list[bytes], file: IO[bytes]) -> None:
        try:
            await in_thread(_write_decoded, pieces, decode, file)
        except OSError as error:
            raise ClickHouseError(
                75, "CANNOT_WRITE_TO_FILE_DESCRIPTOR", f"Cannot keep the request's body: {error.strerror}"
            ) from None

    async def discard(self) -> None:
        """Read and drop the rest of the body, up to a limit: a client that still sends would not read the answer."""
        left = _LARGEST_DISCARDED
        while not self.ended and left > 0:
            left -= len(await self._next())


def _write_decoded(pieces: list[bytes], decode: Decoder, file: IO[bytes]) -> None:
    for piece in pieces:
        write(file, decode.feed(piece))
        while decode.pending:
            write(file, decode.feed(b""))


def write(file: IO[bytes], data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
