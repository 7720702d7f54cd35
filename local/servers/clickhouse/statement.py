"""The kind of a client's statement, and where its parts begin. The statement is split into tokens, never run.

The engine runs a statement from a text, but a client's HTTP body contains statement and data together. Three questions
decide how it is run. Is it an INSERT with data, and where does the data begin? Is it a query with a possibly large result,
and where is its FORMAT clause? Does it try to reach files of this machine?
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from local.servers.clickhouse.errors import ClickHouseError

_TOKEN = re.compile(
    rb"""
    (?P<space> \s+ | --[^\n]* | \#[ !][^\n]* | /\*.*?\*/ )
  | (?P<string> '(?:[^'\\]|\\.|'')*' | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$ | \xe2\x80\x98.*?\xe2\x80\x99 )
  | (?P<quoted> `(?:[^`\\]|\\.|``)*` | "(?:[^"\\]|\\.|"")*" | \xe2\x80\x9c.*?\xe2\x80\x9d )
  | (?P<number> \d[\w.]* )
  | (?P<word> [A-Za-z_\x80-\xff][\w$\x80-\xff]* )
  | (?P<sign> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_RESULT_VERBS = frozenset({b"SELECT", b"WITH", b"FROM", b"VALUES"})
_OTHER_RESULT_VERBS = frozenset({b"SHOW", b"DESCRIBE", b"DESC", b"EXISTS", b"EXPLAIN", b"CHECK", b"KILL"})
_READ_ONLY_VERBS = _RESULT_VERBS | frozenset(
    {b"SHOW", b"DESCRIBE", b"DESC", b"EXISTS", b"EXPLAIN", b"CHECK", b"USE", b"SET"}
)


class Kind(Enum):
    """How a statement must be run."""

    INSERT = "an INSERT with its data after the statement"
    QUERY = "a query whose result is streamed"
    OTHER = "anything else, which is run as it is"


@dataclass(frozen=True)
class Statement:
    """One statement. Offsets are in bytes of the text that was given to `parse`."""

    kind: Kind
    verb: str
    """The first word in capitals, e.g. SELECT; empty for an empty text."""
    clause: int
    """Where INTO OUTFILE or FROM INFILE can be inserted."""
    data: int
    """INSERT: where the data begins. Otherwise the end of the statement."""
    format: str | None
    """The FORMAT clause's name; Values for INSERT … VALUES."""
    end: int
    """INSERT: where the statement's last clause before FORMAT or VALUES ends. Otherwise as `data`."""

    @property
    def gives_result(self) -> bool:
        """Return whether a server reports an output format, even for an empty result."""
        return self.kind is Kind.QUERY or self.verb.encode() in _OTHER_RESULT_VERBS

    @property
    def read_only(self) -> bool:
        """Return whether a GET request may run it."""
        return self.kind is not Kind.INSERT and self.verb.encode() in _READ_ONLY_VERBS


@dataclass(frozen=True)
class _Token:
    kind: str
    text: bytes
    start: int
    end: int
    depth: int

    def is_word(self, *words: bytes) -> bool:
        return self.kind == "word" and self.text.upper() in words

    def names(self, name: bytes) -> bool:
        return (self.kind == "word" and self.text == name) or (
            self.kind == "quoted" and self.text[1:-1] == name
        )


def _tokens(text: bytes, position: int = 0) -> Iterator[_Token]:
    depth = 0
    while found := _TOKEN.match(text, position):
        position = found.end()
        kind = "string" if found.lastgroup == "tag" else found.lastgroup or "sign"
        if kind == "space":
            continue
        if kind == "sign" and found[0] in b"([{":
            yield _Token(kind, found[0], found.start(), position, depth)
            depth += 1
            continue
        if kind == "sign" and found[0] in b")]}":
            depth = max(0, depth - 1)
        yield _Token(kind, found[0], found.start(), position, depth)


def _guarded(tokens: Iterator[_Token]) -> Iterator[_Token]:
    """Yield the tokens. Raises ClickHouseError if the statement tries to reach a file of this machine.

    An embedded engine allows its user more than a server allows its clients. The user's grants forbid table functions and
    table engines that reach files. INFILE, OUTFILE, disk() and the scalar function file() have no grant, so they are checked
    here.
    """
    before = _Token("sign", b"", 0, 0, 0)
    earlier = before
    for token in tokens:
        named = token.kind == "string"
        if named and before.is_word(b"OUTFILE") and earlier.is_word(b"INTO"):
            raise ClickHouseError(358, "INTO_OUTFILE_NOT_ALLOWED", "INTO OUTFILE is not allowed")
        if named and before.is_word(b"INFILE") and earlier.is_word(b"FROM"):
            raise ClickHouseError(
                78, "UNKNOWN_TYPE_OF_QUERY", "Query has infile and was send directly to server"
            )
        if token.text == b"(" and before.is_word(b"DISK"):
            raise ClickHouseError(
                497, "ACCESS_DENIED", "Not enough privileges: disk() makes folders on the server's machine"
            )
        called = token.text == b"(" and before.names(b"file")
        applied = token.names(b"file") and (
            before.is_word(b"APPLY") or (before.text == b"(" and earlier.is_word(b"APPLY"))
        )
        if called or applied:
            raise ClickHouseError(
                497, "ACCESS_DENIED", "Not enough privileges: file() reads files of the server's machine"
            )
        yield token
        earlier, before = before, token


def guard(text: bytes) -> None:
    """Raise ClickHouseError if a token of `text` tries to reach a file of this machine."""
    for _ in _guarded(_tokens(text)):
        pass


def parse(text: bytes) -> Statement:
    """Parse a statement. Raises ClickHouseError for several statements, and for access to files of this machine.

    `text` may be only the first part of an INSERT with data: the data itself is not read.
    """
    seen: list[_Token] = []
    insert: _Token | None = None
    for token in _guarded(_tokens(text)):
        begins = token.depth == 0 and (not seen or seen[0].is_word(b"WITH"))
        if insert is None and begins and token.is_word(b"INSERT"):
            insert = token
            if (statement := _parse_insert(text, token)) is not None:
                return statement
        seen.append(token)
    last = len(seen)
    while last and seen[last - 1].text == b";":
        last -= 1
    for index, token in enumerate(seen[:last]):
        if token.text == b";" and token.kind == "sign":
            raise ClickHouseError(
                62,
                "SYNTAX_ERROR",
                f"Syntax error (Multi-statements are not allowed): failed at position {token.start + 1} "
                f"(end of query): {seen[index + 1].text.decode(errors='replace')}",
            )
    if not last:
        return Statement(Kind.OTHER, "", len(text), len(text), None, len(text))
    end = seen[last - 1].end
    if insert is not None:
        return Statement(Kind.OTHER, "INSERT", end, end, None, end)
    first = next((token for token in seen if token.text != b"("), seen[0])
    verb = first.text.upper().decode(errors="replace")
    if not first.is_word(*_RESULT_VERBS):
        return Statement(Kind.OTHER, verb, end, end, _named_format(seen[:last])[1], end)
    clause, name = _named_format(seen[:last])
    return Statement(Kind.QUERY, verb, end if clause is None else clause, end, name, end)


def _named_format(tokens: list[_Token]) -> tuple[int | None, str | None]:
    """Return where the trailing FORMAT clause begins, and its name."""
    for index in range(len(tokens) - 2, -1, -1):
        token, following = tokens[index], tokens[index + 1]
        if token.depth == 0 and token.is_word(b"FORMAT") and following.kind == "word":
            ends = index + 2 == len(tokens) or tokens[index + 2].is_word(b"SETTINGS")
            if ends and index:
                return token.start, following.text.decode()
    return None, None


def _parse_insert(text: bytes, insert: _Token) -> Statement | None:
    """Parse an INSERT from its keyword on; None if it has no data (INSERT … SELECT)."""
    selects = False
    clause: int | None = None
    named = False
    before = insert
    tokens = _guarded(_tokens(text, insert.end))
    for token in tokens:
        previous, before = before, token
        if token.depth:
            continue
        if previous.is_word(b"INSERT", b"INTO", b"TABLE", b"FUNCTION") and not named:
            named = not token.is_word(b"INTO", b"TABLE", b"FUNCTION")
            continue
        if previous.text == b".":
            continue
        if token.is_word(b"SELECT", b"WITH", b"WATCH"):
            selects = True
        elif token.is_word(b"SETTINGS") and clause is None:
            clause = token.start
        elif token.is_word(b"VALUES") and not selects:
            place = token.start if clause is None else clause
            return Statement(Kind.INSERT, "INSERT", place, token.end, "Values", token.start)
        elif token.is_word(b"FORMAT"):
            place = token.start if clause is None else clause
            name = next(tokens, None)
            if name is None or name.kind != "word":
                return None
            if selects:
                # The engine would ignore this data, and succeed without writing anything.
                raise ClickHouseError(
                    48, "NOT_IMPLEMENTED", "INSERT … SELECT … FORMAT (data for input()) is not supported here"
                )
            return Statement(
                Kind.INSERT, "INSERT", place, _data_start(text, name.end), name.text.decode(), token.start
            )
    return None


def _data_start(text: bytes, position: int) -> int:
    """Return where the data begins after a format's name: after blanks and at most one line end."""
    while text[position : position + 1] in (b" ", b"\t", b"\f"):
        position += 1
    if text[position : position + 1] == b";":
        position += 1
        while text[position : position + 1] in (b" ", b"\t", b"\f"):
            position += 1
    if text[position : position + 1] == b"\r":
        position += 1
    if text[position : position + 1] == b"\n":
        position += 1
    return position
