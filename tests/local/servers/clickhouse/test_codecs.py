"""Compression of bodies, in pieces of any size."""

from __future__ import annotations

import gzip
import zlib

import lz4.frame
import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from local.servers.clickhouse.codecs import decoder, encoder
from local.servers.clickhouse.errors import ClickHouseError

COMPRESS = {"lz4": lz4.frame.compress, "zstd": zstd.compress, "gzip": gzip.compress, "deflate": zlib.compress}
DECOMPRESS = {
    "lz4": lz4.frame.decompress,
    "zstd": zstd.decompress,
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
}


@given(st.sampled_from(sorted(COMPRESS)), st.lists(st.binary(max_size=300), min_size=1), st.integers(1, 50))
def test_several_frames_in_pieces_of_any_size(encoding: str, frames: list[bytes], size: int) -> None:
    wire = b"".join(COMPRESS[encoding](frame) for frame in frames)
    decode = decoder(encoding)
    plain = b"".join(decode.feed(wire[start : start + size]) for start in range(0, len(wire), size))
    decode.finish()
    assert plain == b"".join(frames)


@given(st.sampled_from(sorted(COMPRESS)), st.lists(st.binary(max_size=300)))
def test_what_is_encoded_is_one_whole_stream(encoding: str, pieces: list[bytes]) -> None:
    found = encoder(encoding)
    assert found is not None
    name, encode = found
    wire = b"".join([*map(encode.feed, pieces), encode.finish()])
    assert (name, DECOMPRESS[encoding](wire)) == (encoding, b"".join(pieces))


@pytest.mark.parametrize("encoding", sorted(COMPRESS))
def test_a_stream_that_is_cut_off_or_damaged_raises(encoding: str) -> None:
    wire = COMPRESS[encoding](b"rows" * 1000)
    decode = decoder(encoding)
    decode.feed(wire[:-1])
    with pytest.raises(ClickHouseError, match="ends in the middle"):
        decode.finish()
    with pytest.raises(ClickHouseError, match=f"not valid {encoding}"):
        decoder(encoding).feed(b"no such thing, by far" * 4)


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        ("gzip, zstd, lz4", "lz4"),
        ("gzip;q=1.0, deflate", "gzip"),
        ("lz4;q=0, zstd", "zstd"),
        ("", None),
        ("identity, x-own", None),
    ],
)
def test_the_cheapest_encoding_that_the_client_takes(accepted: str, chosen: str | None) -> None:
    found = encoder(accepted)
    assert (found and found[0]) == chosen


def test_an_unknown_encoding_is_named() -> None:
    with pytest.raises(ClickHouseError, match="snappy"):
        decoder("snappy")
