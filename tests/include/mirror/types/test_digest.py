"""The digest of texts: the same on both sides, and different for different contents."""

from __future__ import annotations

import itertools
import random
from typing import Any
from zlib import crc32

import numpy as np
import pyarrow as pa
import pytest

from include.mirror.types.digest import SHORT, STEP, M, content, content_sql
from tests.include.mirror.types.way import Way

SIZES = (0, 1, 7, 8, 9, 15, 16, 17, 100, 255, 256, 257, 504, 505, 511, 512, 513, 520, 5000)


def by_the_book(value: bytes | None) -> int:
    """The hash's definition, computed word by word."""
    if not value:
        return 0
    if len(value) > SHORT:
        return (crc32(value) * STEP + len(value)) % 2**64
    digest = len(value) * M % 2**64
    for start in range(0, len(value), 8):
        word = int.from_bytes(value[start : start + 8], "little")
        if start + 8 <= len(value):
            word = word * M % 2**64
            word = (word ^ word >> 47) * M % 2**64
        digest = (digest ^ word) * M % 2**64
    digest = (digest ^ digest >> 47) * M % 2**64
    return digest ^ digest >> 47


def some_values() -> list[bytes | None]:
    """NULLs and values of all sizes at which the algorithm changes, in any order."""
    source = random.Random(7)
    values = [source.randbytes(source.choice(SIZES)) if source.random() < 0.9 else None for _ in range(3000)]
    return [*values, source.randbytes(700_001), b"", source.randbytes(300_000), b"x" * 8]


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_numpy_follows_the_definition(kind: Any) -> None:
    values = some_values()
    array = pa.array(values, kind)
    expected = [by_the_book(value) for value in values]
    assert content(array).view(np.uint64).tolist() == expected
    assert content(array[5:2000]).view(np.uint64).tolist() == expected[5:2000]
    assert content(array[3000:]).view(np.uint64).tolist() == expected[3000:]


@pytest.mark.parametrize(
    "array", [pa.array([], pa.string()), pa.nulls(3, pa.string()), pa.array(["", ""]), pa.array(["a"])[1:]]
)
def test_nothing_is_zero(array: pa.Array) -> None:
    assert content(array).tolist() == [0] * len(array)


def test_bytes_under_a_null_do_not_count() -> None:
    array = pa.array(["abc", "def"])
    hidden = pa.Array.from_buffers(pa.string(), 2, [pa.py_buffer(b"\x02"), *array.buffers()[1:]])
    assert hidden.to_pylist() == [None, "def"]
    assert content(hidden).view(np.uint64).tolist() == [0, by_the_book(b"def")]


@pytest.mark.parametrize("kind", ["String", "Nullable(String)", "LowCardinality(Nullable(String))"])
def test_clickhouse_computes_the_same(way: Way, kind: str) -> None:
    values = some_values() if "Nullable" in kind else [value or b"" for value in some_values()]
    way.clickhouse.command(
        f"CREATE OR REPLACE TABLE words (i UInt32, w {kind}) ENGINE = MergeTree ORDER BY i"
    )
    array = pa.array(values, pa.binary())
    way.clickhouse.insert_arrow(
        "words", pa.table({"i": pa.array(range(len(values)), pa.uint32()), "w": array})
    )
    rows = way.clickhouse.query(f"SELECT {content_sql('w')} FROM words ORDER BY i").result_rows
    assert [digest or 0 for (digest,) in rows] == content(array).view(np.uint64).tolist()
    assert [digest is None for (digest,) in rows] == [value is None for value in values]


@pytest.mark.parametrize("rest", [b"", b"." * SHORT])
def test_another_content_of_the_same_length_has_another_digest(rest: bytes) -> None:
    base = b"Sao Paulo  Rio de JaneiroBelo Horizonte "
    words = [base[at : at + 8] for at in range(0, len(base), 8)]
    others = [b"".join(order) for order in itertools.permutations(words)]
    others += [
        base[:at] + bytes([base[at] ^ bit]) + base[at + 1 :]
        for at in range(len(base))
        for bit in (1, 32, 128)
    ]
    others += [b"AAAAAAA1AAAAAAA2", b"AAAAAAA2AAAAAAA1", b"1AAAAAAA2AAAAAAA", b"2AAAAAAA1AAAAAAA"]
    others += [base + b"\0" * zeros for zeros in range(1, 20)]
    unique = [rest + other for other in dict.fromkeys(others)]
    assert len(set(content(pa.array(unique)).tolist())) == len(unique)


def test_values_swapped_between_rows_change_the_weighted_sum() -> None:
    keys = np.arange(1, 3, dtype=np.uint64)
    one, other = (content(pa.array(pair)).view(np.uint64) for pair in (["Ana", "Eva"], ["Eva", "Ana"]))
    assert one.sum() == other.sum()
    assert np.dot(one, keys) != np.dot(other, keys)
