"""A 64-bit digest of a text's content: numpy computes it from an Arrow batch, and ClickHouse from a stored column.

It is MurmurHash64A (Austin Appleby, public domain) with seed 0, in ClickHouse murmurHash2_64. It starts with the length
times M. For each little-endian word of 8 bytes: hash = (hash ^ scrambled word) * M. Then come the remaining up to seven
bytes, if there are any, and two shifts. The digest of an empty value is 0. numpy computes thousands of values at once: the
first word of all values, then the second word of all, without a loop over values.

For values of more than SHORT bytes that is not faster. Their digest is made of their CRC-32 and their length: several times
as fast on both sides, but one change in 2^32 is missed.
"""

from __future__ import annotations

from zlib import crc32

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.mirror.types.carrier import Mask, Numbers

Words = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

M = 0xC6A4A7935BD1E995
SHORT = 512
"""In bytes. For longer values, a call of crc32 for each value costs numpy's side less than another round over all values."""
STEP = 0xD6E8FEB86659FD92
LENGTH = 0x9E3779B97F4A7C15
SEED = 0x4CF2D2BAAE6DA887
"""The constant that ClickHouse's intHash64 combines with its input by XOR."""

_VALUES = 16_384
"""How many values are computed at once, so that their words fit into the processor's L2 cache."""

_KEPT = np.array([(1 << 8 * size) - 1 for size in range(8)], dtype=np.uint64)
"""By number of bytes, the mask of a word of which only so many bytes belong to the value."""


def content(array: pa.Array) -> Numbers:
    """Return the digest of each value of a string or binary array, 0 for NULL."""
    offsets, data = buffers(array)
    starts, lengths = offsets[:-1], np.diff(offsets)
    if array.null_count:
        # A NULL may have bytes in the buffer.
        lengths[array.is_null().to_numpy(zero_copy_only=False)] = 0
    digests = np.zeros(len(lengths), dtype=np.uint64)
    if int(lengths.max(initial=0)) > SHORT:
        long = np.flatnonzero(lengths > SHORT)
        places = zip(starts[long].tolist(), lengths[long].tolist(), strict=True)
        sums = np.array([crc32(data.data[start : start + size]) for start, size in places], dtype=np.uint64)
        digests[long] = sums * np.uint64(STEP) + lengths[long].view(np.uint64)
        lengths[long] = 0
    for first in range(0, len(lengths), _VALUES):
        part = slice(first, first + _VALUES)
        if lengths[part].any():
            digests[part] += _murmur(starts[part], lengths[part], data)
    return digests.view(np.int64)


def content_sql(text: str) -> str:
    """Return the ClickHouse expression of `content` for a String, also in a LowCardinality. It is NULL for NULL."""
    checksum = f"toUInt64(CRC32({text})) * {STEP} + length({text})"
    return f"if(length({text}) > {SHORT}, {checksum}, murmurHash2_64({text}))"


def sequence(numbers: Numbers, nulls: Mask | None, offsets: Places) -> Numbers:
    """Return the digest of each list of numbers; list n is `numbers[offsets[n]:offsets[n + 1]]`.

    `nulls` is a mask of the NULL elements, None if there are none. A NULL element is different from any number. The digest
    of an empty list is 0.
    """
    lengths = np.diff(offsets)
    digests = lengths.view(np.uint64) * np.uint64(LENGTH)
    if not len(numbers):
        return digests.view(np.int64)
    words = numbers.view(np.uint64).copy()
    if nulls is not None:
        words[nulls] = _NULL_ELEMENT
    places = np.arange(len(numbers), dtype=np.int64) - np.repeat(offsets[:-1] - 1, lengths)
    words += places.view(np.uint64) * np.uint64(STEP)
    words = mixed(words)
    filled = lengths > 0
    digests[filled] += np.add.reduceat(words, offsets[:-1][filled])
    return digests.view(np.int64)


def mixed(words: Words) -> Words:
    """Return ClickHouse's intHash64 of each word: MurmurHash3's finalizer."""
    words = words ^ np.uint64(SEED)
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        words ^= words >> np.uint64(33)
        words *= np.uint64(factor)
    words ^= words >> np.uint64(33)
    return words


_NULL_ELEMENT = 0xA0761D6478BD642F


def sequence_sql(array: str, variable: str, element: str, nullable: bool) -> str:
    """Return the ClickHouse expression of `sequence` for an array. `element` is the digest of the element `variable`."""
    word = f"if(isNull({variable}), {_NULL_ELEMENT}, {element})" if nullable else element
    mixed = f"arrayMap(({variable}, n) -> intHash64({word} + n * {STEP}), {array}, arrayEnumerate({array}))"
    return f"(arraySum({mixed}) + length({array}) * {LENGTH})"


def buffers(array: pa.Array) -> tuple[Places, Bytes]:
    """Return the offsets of the values, with the end of the last one, and the bytes."""
    large = pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type)
    _, places, data = array.buffers()
    if not len(array) or places is None:
        return np.zeros(len(array) + 1, dtype=np.int64), np.zeros(0, dtype=np.uint8)
    offsets = np.frombuffer(places, np.int64 if large else np.int32)[array.offset :][: len(array) + 1]
    known = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(0, dtype=np.uint8)
    return offsets.astype(np.int64), known


def _murmur(starts: Places, lengths: Places, data: Bytes) -> Words:
    """Return the MurmurHash64A of each value. At least one value must not be empty."""
    factor, shift = np.uint64(M), np.uint64(47)
    # A value's word may begin at any byte. It is combined from two aligned words of a copy, which is faster than reading it
    # unaligned.
    origin, end = int(starts[0]), int(np.max(starts + lengths))
    copy = np.empty((end - origin) // 8 + 2, dtype=np.uint64)
    copy.view(np.uint8)[: end - origin] = data[origin:end]
    starts = starts - origin

    hashes = lengths.view(np.uint64) * factor
    left, at = lengths, starts >> 3
    down, up = _shifts(starts)
    upper = copy.take(at, mode="clip")
    mine, state = None, hashes
    while count := int(np.count_nonzero(whole := left >= 8)):
        if count < len(left) // 2:
            # From here on, compute only the values that still have whole words.
            kept = np.flatnonzero(whole)
            if mine is not None:
                hashes[mine] = state
            mine = kept if mine is None else mine.take(kept)
            state, left, at = hashes.take(mine), left.take(kept), at.take(kept)
            down, up, upper = down.take(kept), up.take(kept), upper.take(kept)
            whole = whole.take(kept)
        words = upper >> down
        at = at + 1
        upper = copy.take(at, mode="clip")
        words |= upper << up
        words *= factor
        words ^= words >> shift
        words *= factor
        if count == len(left):
            state ^= words
            state *= factor
        else:
            words ^= state
            words *= factor
            np.copyto(state, words, where=whole)
        left = left - 8
    if mine is not None:
        hashes[mine] = state

    rest = lengths & 7
    starts += lengths - rest
    at = starts >> 3
    down, up = _shifts(starts)
    words = copy.take(at, mode="clip") >> down
    words |= copy.take(at + 1, mode="clip") << up
    words &= _KEPT.take(rest)
    words ^= hashes
    words *= factor
    np.copyto(hashes, words, where=rest > 0)
    hashes ^= hashes >> shift
    hashes *= factor
    hashes ^= hashes >> shift
    return hashes


def _shifts(starts: Places) -> tuple[Words, Words]:
    """Return by how many bits to shift the lower and the upper word, to combine the word that begins at a byte.

    If the word is aligned, the upper word is shifted by 64 bits, so that nothing of it is used.
    """
    down = (starts & 7).view(np.uint64) * np.uint64(8)
    return down, np.uint64(64) - down
