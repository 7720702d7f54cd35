"""What kind of statement a client sent, and where its parts begin: read by tokens, never run.

The engine executes a statement from one text, but a client's HTTP body is text and data in one. Three
questions decide how it is run: is it an INSERT that carries data, and where does the data begin; is it a query
whose result may be large, and where does its FORMAT clause stand; does it try to reach files of this machine.
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
    """How a statement has to be run."""

    INSERT = "an INSERT with its data after the statement"
    QUERY = "a query whose result is streamed"
    OTHER = "anything else, which is run as it is"


@dataclass(frozen=True)
class Statement:
    """One statement; offsets count bytes of the text that `parse` got."""

    kind: Kind
    verb: str
    """The first word in capitals, e.g. SELECT; empty for an empty text."""
    clause: int
    """Where INTO OUTFILE or FROM INFILE may be put."""
    data: int
    """INSERT: where the data begins. Otherwise the end of the statement."""
    format: str | None
    """The FORMAT clause's name; Values for INSERT … VALUES."""
    end: int
    """INSERT: where the statement's last clause before FORMAT or VALUES ends. Otherwise as `data`."""

    @property
    def gives_result(self) -> bool:
        """Return True when a server reports an output format, even for an empty result."""
        return self.kind is Kind.QUERY or self.verb.encode() in _OTHER_RESULT_VERBS

    @property
    def read_only(self) -> bool:
        """Return True when a GET request may run it."""
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
    """Pass tokens on; raise ClickHouseError where the statement reaches for a file of this machine.

    The engine runs as an embedded one and then allows its own user everything, also what a server refuses to
    clients that are not on its machine. The grants of the engine's user close the table functions and engines;
    INFILE, OUTFILE, disk() and the scalar function file() have no grant.
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
    """Raise ClickHouseError when any token of `text` reaches for a file of this machine."""
    for _ in _guarded(_tokens(text)):
        pass


def parse(text: bytes) -> Statement:
    """Read a statement. Raises ClickHouseError for more than one statement and for files of this machine.

    `text` may be the first part only of an INSERT with data: nothing behind the start of the data is looked at.
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
    """Read an INSERT from its keyword; None when it carries no data (INSERT … SELECT)."""
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
                # The engine reads no such data and would answer that all is well with nothing written.
                raise ClickHouseError(
                    48, "NOT_IMPLEMENTED", "INSERT … SELECT … FORMAT (data for input()) is not supported here"
                )
            return Statement(
                Kind.INSERT, "INSERT", place, _data_start(text, name.end), name.text.decode(), token.start
            )
    return None


def _data_start(text: bytes, position: int) -> int:
    """Return where data begins behind a format's name: after the blanks and at most one end of line."""
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
