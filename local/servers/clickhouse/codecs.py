"""Content-Encoding in both directions, piece by piece, with the libraries that clickhouse-connect uses too."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from typing import Any, Protocol

import lz4.frame

from local.servers.clickhouse.errors import ClickHouseError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# The fastest first: on the loopback interface, CPU time costs more than bytes.
PREFERENCE = ("lz4", "zstd", "gzip", "deflate")

_PIECE = 1 << 20


class Encoder(Protocol):
    """Compresses one response body."""

    def feed(self, data: bytes) -> bytes:
        """Return the next bytes of the compressed stream; may be empty."""

    def finish(self) -> bytes:
        """Return the end of the compressed stream."""


class Decoder:
    """Decompresses one request body. It may consist of several frames, as some clients send.

    A few compressed bytes can stand for any number of plain bytes. So each call returns at most 1 MiB, and `pending` tells
    whether there is more.
    """

    def __init__(self, encoding: str, make: Callable[[], Any]) -> None:
        self._encoding = encoding
        self._make = make
        self._frame: Any = None
        self._rest = b""

    @property
    def pending(self) -> bool:
        """Return whether `feed(b"")` may return more."""
        return bool(self._rest) or (self._frame is not None and not self._frame.needs_input)

    def feed(self, data: bytes) -> bytes:
        """Return at most 1 MiB of plain bytes. Raises ClickHouseError if the data is not valid in this encoding."""
        self._rest += data
        plain: list[bytes] = []
        size = 0
        try:
            while self.pending and size < _PIECE:
                if self._frame is None:
                    self._frame = self._make()
                rest, self._rest = self._rest, b""
                plain.append(self._frame.decompress(rest, _PIECE - size))
                size += len(plain[-1])
                if self._frame.eof:
                    self._rest = self._frame.unused_data or b""
                    self._frame = None
        except (RuntimeError, zlib.error, zstd.ZstdError, EOFError) as error:
            raise ClickHouseError(
                271, "CANNOT_DECOMPRESS", f"The request body is not valid {self._encoding}: {error}"
            ) from None
        return plain[0] if len(plain) == 1 else b"".join(plain)

    def finish(self) -> None:
        """Raise ClickHouseError if the body ended inside a frame."""
        if self._frame is not None:
            raise ClickHouseError(
                271, "CANNOT_DECOMPRESS", f"The request body ends in the middle of its {self._encoding} data"
            )


class _Plain(Decoder):
    def __init__(self) -> None:
        super().__init__("identity", lambda: None)

    def feed(self, data: bytes) -> bytes:
        return data


class _ZlibFrame:
    """zlib's decoder with the interface of the other decoders."""

    def __init__(self, bits: int) -> None:
        self._decoder = zlib.decompressobj(wbits=bits)
        self._full = False

    def decompress(self, data: bytes, max_length: int) -> bytes:
        plain = self._decoder.decompress(self._decoder.unconsumed_tail + data, max_length)
        # zlib does not tell whether it has more output. It may have, if it filled the piece.
        self._full = len(plain) == max_length
        return plain

    @property
    def needs_input(self) -> bool:
        return not self._full and not self._decoder.unconsumed_tail

    @property
    def eof(self) -> bool:
        return self._decoder.eof

    @property
    def unused_data(self) -> bytes:
        return self._decoder.unused_data


class _Lz4Encoder:
    def __init__(self) -> None:
        self._frame = lz4.frame.LZ4FrameCompressor()
        self._head = self._frame.begin()

    def feed(self, data: bytes) -> bytes:
        head, self._head = self._head, b""
        compressed: bytes = head + self._frame.compress(data)
        return compressed

    def finish(self) -> bytes:
        head, self._head = self._head, b""
        end: bytes = head + self._frame.flush()
        return end


class _StreamEncoder:
    def __init__(self, compress: Callable[[bytes], bytes], flush: Callable[[], bytes]) -> None:
        self.feed = compress
        self.finish = flush


def _zlib_encoder(bits: int) -> Encoder:
    # Level 3 is ClickHouse's default for HTTP.
    stream = zlib.compressobj(level=3, wbits=bits)
    return _StreamEncoder(stream.compress, stream.flush)


def _zstd_encoder() -> Encoder:
    stream = zstd.ZstdCompressor()
    return _StreamEncoder(stream.compress, stream.flush)


_DECODERS: dict[str, Callable[[], Any]] = {
    "lz4": lz4.frame.LZ4FrameDecompressor,
    "zstd": zstd.ZstdDecompressor,
    "gzip": lambda: _ZlibFrame(31),
    "deflate": lambda: _ZlibFrame(15),
}
_ENCODERS: dict[str, Callable[[], Encoder]] = {
    "lz4": _Lz4Encoder,
    "zstd": _zstd_encoder,
    "gzip": lambda: _zlib_encoder(31),
    "deflate": lambda: _zlib_encoder(15),
}


def decoder(encoding: str) -> Decoder:
    """Return the decoder of a Content-Encoding header. Raises ClickHouseError for an unknown one."""
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return _Plain()
    if name not in _DECODERS:
        known = ", ".join(sorted(_DECODERS))
        raise ClickHouseError(
            89,
            "UNKNOWN_COMPRESSION_METHOD",
            f"Unknown Content-Encoding {encoding!r}; this service knows {known}",
        )
    return Decoder(name, _DECODERS[name])


def encoder(accepted: str) -> tuple[str, Encoder] | None:
    """Return name and encoder of the best encoding that an Accept-Encoding header allows, or None if it allows none."""
    offered = set()
    for entry in accepted.lower().split(","):
        name, _, weight = entry.strip().partition(";")
        if weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000"):
            offered.add(name.strip())
    for name in PREFERENCE:
        if name in offered and name in _ENCODERS:
            return name, _ENCODERS[name]()
    return None
