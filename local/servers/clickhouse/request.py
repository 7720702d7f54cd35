"""What a request says: its parameters, and its body a piece at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from local.servers.clickhouse.codecs import Decoder
from local.servers.clickhouse.errors import ClickHouseError
from local.servers.clickhouse.pipe import PIECE, in_thread

# What a refused client may still be sending is read and thrown away up to this size.
_LARGEST_DISCARDED = 64 << 20

# What the interface itself means by a parameter: none of them is a setting of the engine.
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
        # Checked here: set on a session's handle it could not be taken back.
        "readonly",
        # The handle's own tag stands there.
        "log_comment",
        # Every INSERT is acknowledged once it is written, whatever the client would put up with.
        "async_insert",
        "wait_for_async_insert",
    }
)


@dataclass(frozen=True)
class Parameters:
    """What a request's URL, headers and form say besides the statement."""

    url: Mapping[str, str]
    headers: Headers

    def flag(self, name: str) -> bool:
        """Return True for a parameter that is given as 1 or true."""
        return self.url.get(name, "0").lower() in ("1", "true")

    def settings(self, apart_from: frozenset[str]) -> dict[str, str]:
        """Return the engine's settings among the parameters."""
        return {
            name: value
            for name, value in self.url.items()
            if name not in _INTERFACE and name not in apart_from and not name.startswith("param_")
        }

    @property
    def query_parameters(self) -> dict[str, str]:
        """Return the values of {name:Type} in the statement."""
        return {
            name.removeprefix("param_"): value
            for name, value in self.url.items()
            if name.startswith("param_")
        }

    @property
    def database(self) -> str | None:
        """Return the database of this one request, None for the session's."""
        return self.url.get("database") or self.headers.get("x-clickhouse-database") or None

    @property
    def default_format(self) -> str:
        """Return the format of a result whose statement names none."""
        return self.url.get("default_format") or self.headers.get("x-clickhouse-format") or "TabSeparated"

    @property
    def waits_for_end(self) -> bool:
        """Return True when nothing of the answer may be sent before the statement has ended."""
        return self.flag("wait_end_of_query") or self.flag("http_wait_end_of_query")

    @property
    def encodings(self) -> str:
        """Return the encodings that the answer may have."""
        return self.headers.get("accept-encoding", "") if self.flag("enable_http_compression") else ""


class Body:
    """A request's body, decompressed; it raises ClientDisconnect where it breaks off."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.ended = False

    async def _next(self, decode: Decoder | None) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        self.ended = not message.get("more_body", False)
        data: bytes = message.get("body", b"")
        if decode is None:
            return data
        plain = decode.feed(data)
        if self.ended:
            decode.finish()
        return plain

    async def read_into(self, text: bytearray, decode: Decoder, limit: int) -> bool:
        """Read until `text` holds more than `limit` bytes; return True when the body ended first."""
        while not self.ended and len(text) <= limit:
            text += await self._next(decode)
        return self.ended

    async def spool(self, decode: Decoder, file: IO[bytes]) -> None:
        """Write the rest of the body to `file`; at no time is more than a piece of it in memory."""
        while not self.ended:
            pieces: list[bytes] = []
            size = 0
            while not self.ended and size < PIECE:
                message = await self._receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                self.ended = not message.get("more_body", False)
                pieces.append(message.get("body", b""))
                size += len(pieces[-1])
            try:
                await in_thread(_write_decoded, pieces, decode, file)
            except OSError as error:
                raise ClickHouseError(
                    75, "CANNOT_WRITE_TO_FILE_DESCRIPTOR", f"Cannot keep the request's body: {error.strerror}"
                ) from None
        decode.finish()

    async def discard(self) -> None:
        """Read what is left, within bounds: a client that is still sending would not see the answer."""
        left = _LARGEST_DISCARDED
        while not self.ended and left > 0:
            left -= len(await self._next(None))


def _write_decoded(pieces: list[bytes], decode: Decoder, file: IO[bytes]) -> None:
    for piece in pieces:
        write(file, decode.feed(piece))


def write(file: IO[bytes], data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
