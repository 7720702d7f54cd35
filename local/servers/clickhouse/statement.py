"""The kind of a client's statement, and where its parts begin. The statement is split into tokens, never run.

The engine runs a statement from a text, but a client's HTTP body contains statement and data together. Three questions
decide how it is run. Is it an INSERT with data, and where does the data begin? Is it a query with a possibly large result,
and where is its FORMAT clause? Does it try to reach files of this machine?

Each token is read once, and only a few are kept, so the time is linear and the memory constant. A statement is refused if
the engine could split it into other tokens than this module. So outside of quotes and comments, only ASCII is accepted: the
engine treats about thirty other characters as blanks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from local.servers.clickhouse.errors import ClickHouseError

# Possessive quantifiers (`*+`, `++`) do not backtrack: an unclosed quote is found in linear time.
_TOKEN = re.compile(
    rb"""
    (?P<space> [ \t\n\r\f\v]++ | (?:--|//|\#[ !])[^\n]*+ | /\*(?:[^*/]++|\*(?!/)|/(?!\*))*+\*/ )
  | (?P<string> (?:[xX]'[0-9A-Fa-f]*+' | [bB]'[01]*+' | '(?:[^'\\]++|\\.|'')*+' | \$(?P<tag>\w*+)\$.*?\$(?P=tag)\$) )
  | (?P<quoted> `(?:[^`\\]++|\\.|``)*+` | "(?:[^"\\]++|\\.|"")*+" )
  | (?P<unclosed> ['`"$] | /\* | [xXbB]' )
  | (?P<number> \d\w*+ (?:\.\d\w*+)? )
  | (?P<word> [A-Za-z_][\w$]*+ )
  | (?P<sign> [][(){}.,;:?@*/%+=<>|&^!~-] )
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|(.))|([`\"])\3", re.DOTALL)
# Clients send the same short statements again and again. Long ones are mostly data.
_MOST_KEPT = 512
LONGEST_KEPT = 4 << 10
# Functions that accept the name of a function instead of a lambda.
_HIGHER_ORDER = re.compile(rb"(?:array|map)[A-Z]")
# Functions that reach files or this process, or that run a text as SQL, and that need no grant.
_REACHING = {
    b"file": "file() reads files of the server's machine",
    b"disk": "disk() makes folders on the server's machine",
    b"eval": "eval() runs a text as a statement",
    b"python": "python() reads objects of the server's process",
    b"arrowstream": "arrowstream() reads objects of the server's process",
}
# Settings that only the service may set. It decides by an INSERT's data.
RESERVED = frozenset(
    {
        b"input_format_values_interpret_expressions",
        b"input_format_values_deduce_templates_of_expressions",
    }
)
_RESULT_VERBS = frozenset({b"SELECT", b"WITH", b"FROM", b"VALUES"})
_OTHER_RESULT_VERBS = frozenset({b"SHOW", b"DESCRIBE", b"DESC", b"EXISTS", b"EXPLAIN", b"CHECK", b"KILL"})
_READ_ONLY_VERBS = _RESULT_VERBS | frozenset(
    {b"SHOW", b"DESCRIBE", b"DESC", b"EXISTS", b"EXPLAIN", b"CHECK", b"USE", b"SET"}
)


# Words after which FORMAT or SETTINGS is a name, and words that can't be the name of a format.
_BEFORE_A_NAME = tuple(
    b"SELECT DISTINCT FROM JOIN AS ON USING PREWHERE WHERE BY HAVING "
    b"QUALIFY AND OR NOT IN BETWEEN LIKE ILIKE CASE WHEN THEN ELSE".split()
)
_AFTER_A_NAME = tuple(
    b"FROM PREWHERE WHERE GROUP HAVING ORDER LIMIT UNION EXCEPT INTERSECT "
    b"JOIN INNER LEFT RIGHT FULL CROSS ANY ASOF ARRAY AS SETTINGS "
    b"IN NOT IS BETWEEN LIKE ILIKE AND OR END WHEN THEN ELSE".split()
)


class Kind(Enum):
    """How a statement must be run."""

    INSERT = "an INSERT with its data after the statement"
    QUERY = "a query whose result is streamed"
    OTHER = "anything else, which is run as it is"


@dataclass(frozen=True)
class Input:
    """A call of the table function input(), which reads an INSERT's data."""

    start: int
    end: int
    structure: bytes
    """Its argument, an expression for the columns of the data."""


@dataclass(frozen=True)
class Selection:
    """What an INSERT … SELECT … FORMAT needs besides its text."""

    input: Input | None
    """None: the statement reads no data."""
    settings: tuple[bytes, ...]
    """The contents of its SETTINGS clauses, which hold for reading the data, too."""


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
    selection: Selection | None = None
    """Only for an INSERT … SELECT with a FORMAT clause."""

    @property
    def gives_result(self) -> bool:
        """Return whether a server reports an output format, even for an empty result."""
        return self.kind is Kind.QUERY or self.verb.encode() in _OTHER_RESULT_VERBS

    @property
    def read_only(self) -> bool:
        """Return whether a GET request may run it."""
        return self.kind is not Kind.INSERT and self.verb.encode() in _READ_ONLY_VERBS


class _Token(NamedTuple):
    kind: str
    text: bytes
    start: int
    end: int
    depth: int

    def is_word(self, *words: bytes) -> bool:
        return self.kind == "word" and self.text.upper() in words

    @property
    def name(self) -> bytes | None:
        """The name that a word or a quoted identifier means; None for other tokens."""
        if self.kind == "word":
            return self.text
        return _ESCAPE.sub(_unescaped, self.text[1:-1]) if self.kind == "quoted" else None


_NOTHING = _Token("sign", b"", 0, 0, 0)


def _unescaped(found: re.Match[bytes]) -> bytes:
    if found[1]:
        return bytes([int(found[1], 16)])
    return found[2] or found[3]


def _tokens(text: bytes) -> Iterator[_Token]:
    depth = position = 0
    while found := _TOKEN.match(text, position):
        start, position = found.span()
        kind = "string" if found.lastgroup == "tag" else found.lastgroup or "sign"
        if kind == "space":
            continue
        if kind == "unclosed":
            raise _syntax_error(
                text, start, "a quote or comment that is not closed, or a comment in a comment"
            )
        if kind == "sign" and found[0] in b")]}":
            depth = max(0, depth - 1)
        yield _Token(kind, found[0], start, position, depth)
        if kind == "sign" and found[0] in b"([{":
            depth += 1
    if position < len(text):
        raise _syntax_error(text, position, "only ASCII is read outside of strings and quoted identifiers")


def _syntax_error(text: bytes, position: int, reason: str) -> ClickHouseError:
    near = text[position : position + 20].decode(errors="replace")
    return ClickHouseError(
        62, "SYNTAX_ERROR", f"Syntax error: failed at position {position + 1} ({reason}): {near!r}"
    )


def _denied(reason: str) -> ClickHouseError:
    return ClickHouseError(497, "ACCESS_DENIED", f"Not enough privileges: {reason}")


def _guarded(tokens: Iterator[_Token]) -> Iterator[_Token]:
    """Yield the tokens. Raises ClickHouseError if the statement tries to reach a file of this machine.

    The engine runs as an embedded one and then allows its own user everything, also what a server refuses to
    clients that are not on its machine. The grants of the engine's user close the table functions and engines, its
    constraints the settings; what is looked for here has neither.
    """
    verb: _Token | None = None
    last = (_NOTHING, _NOTHING, _NOTHING, _NOTHING)
    # The last token before the opening parentheses at this place: `arrayMap` in `arrayMap((file), …)`.
    outside = _NOTHING
    for token in tokens:
        verb = verb or token
        _check_clauses(verb, last, token)
        _check_functions(last, outside, token)
        yield token
        if token.text != b"(":
            outside = token
        last = (*last[1:], token)


def _check_clauses(verb: _Token, last: tuple[_Token, ...], token: _Token) -> None:
    """Refuse clauses with the name of a file. In INSERT INTO outfile and FROM infile, these are names of tables."""
    earlier, before = last[-2:]
    if before.is_word(b"INTO") and token.is_word(b"OUTFILE") and not earlier.is_word(b"INSERT"):
        raise ClickHouseError(358, "INTO_OUTFILE_NOT_ALLOWED", "INTO OUTFILE is not allowed")
    if token.kind != "string":
        return
    if earlier.is_word(b"FROM") and before.is_word(b"INFILE"):
        raise ClickHouseError(78, "UNKNOWN_TYPE_OF_QUERY", "Query has infile and was send directly to server")
    if verb.is_word(b"ATTACH") and before.is_word(b"FROM"):
        raise _denied("ATTACH … FROM moves folders of the server's machine")


def _check_functions(last: tuple[_Token, ...], outside: _Token, token: _Token) -> None:
    """Refuse functions that reach files, wherever a function's name is possible. Columns may have these names."""
    into, function, opened, before = last
    name = token.name
    if name is not None and name.lower() in RESERVED:
        raise ClickHouseError(
            452, "SETTING_CONSTRAINT_VIOLATION", f"Setting {name.decode()} should not be changed"
        )
    if token.text == b"(":
        name = before.name
    elif not (
        outside.is_word(b"APPLY") or (before.text == b"(" and _HIGHER_ORDER.match(outside.name or b""))
    ):
        name = None
    if name is not None and (reason := _REACHING.get(name.lower())):
        raise _denied(reason)
    # The table function evaluates expressions in texts: VALUES and DEFAULT. The scalar function begins with a pattern.
    if opened.text == b"(" and (function.name or b"").lower() == b"format" and not into.is_word(b"INTO"):
        pattern = before.kind == "string" and b"{" in before.text and token.text in (b",", b")")
        if not pattern and before.text != b")":
            raise _denied("format() as a table function reads expressions out of a text")


def guard(text: bytes) -> None:
    """Raise ClickHouseError if a token of `text` tries to reach a file of this machine, or if there are no valid tokens."""
    for _ in _guarded(_tokens(text)):
        pass


def check_structure(text: bytes) -> None:
    """Raise ClickHouseError if `text` is not only what the parentheses of a CREATE TABLE may contain."""
    open_brackets = 0
    for token in _guarded(_tokens(text)):
        open_brackets += (token.text == b"(") - (token.text == b")")
        if open_brackets < 0 or token.text == b";":
            raise _syntax_error(text, token.start, "the structure of a table ends here")


def parse(text: bytes) -> Statement:
    """Parse a statement. Raises ClickHouseError for several statements, and for access to files of this machine.

    `text` may be only the first part of an INSERT with data: the data itself is not read.
    """
    return _parse_kept(text) if len(text) <= LONGEST_KEPT else _parse(text)


@lru_cache(_MOST_KEPT)
def _parse_kept(text: bytes) -> Statement:
    return _parse(text)


def _parse(text: bytes) -> Statement:
    opening: _Token | None = None
    first: _Token | None = None
    insert: _Insert | None = None
    semicolon = False
    end = len(text)
    formats = _Formats()
    inputs = _Inputs(text)
    before = (_NOTHING, _NOTHING)
    for token in _guarded(_tokens(text)):
        if token.text == b";" and token.kind == "sign":
            semicolon = True
            continue
        if semicolon:
            raise ClickHouseError(
                62,
                "SYNTAX_ERROR",
                f"Syntax error (Multi-statements are not allowed): failed at position {end + 1} "
                f"(end of query): {token.text.decode(errors='replace')}",
            )
        begins = token.depth == 0 and (opening is None or _follows_list(opening, before))
        if insert is not None:
            if (statement := insert.take(text, token, inputs)) is not None:
                return statement
        elif begins and token.is_word(b"INSERT"):
            insert = _Insert(token)
        if opening is None:
            opening = token
        if first is None and token.text != b"(":
            first = token
        end = token.end
        formats.take(token)
        inputs.take(token)
        before = before[1], token
    first = first or opening
    if first is None:
        return Statement(Kind.OTHER, "", len(text), len(text), None, len(text))
    if insert is not None:
        return Statement(Kind.OTHER, "INSERT", end, end, None, end)
    verb = first.text.upper().decode(errors="replace")
    if inputs.found and not first.is_word(*_READ_ONLY_VERBS):
        # The engine accepts such a view or table. An INSERT that reads it would succeed without writing anything.
        raise _wrong_input(
            "Input stream is not initialized, input() must be used only in INSERT SELECT query."
        )
    if not first.is_word(*_RESULT_VERBS):
        return Statement(Kind.OTHER, verb, end, end, formats.name, end)
    clause = end if formats.start is None else formats.start
    return Statement(Kind.QUERY, verb, clause, end, formats.name, end)


def _follows_list(opening: _Token, before: tuple[_Token, _Token]) -> bool:
    """Return whether the list of WITH may have ended with the tokens `before`: with a parenthesis, or AS and a name.

    Elsewhere in the list, `insert` is a name, as in WITH insert AS (SELECT 1) SELECT * FROM insert.
    """
    keyword, last = before
    ended = last.text == b")" or (keyword.is_word(b"AS") and last.name is not None)
    return opening.is_word(b"WITH") and ended


class _Formats:
    """Finds the trailing FORMAT clause, token by token. Only SETTINGS may follow it."""

    def __init__(self) -> None:
        self.start: int | None = None
        self.name: str | None = None
        self._before: _Token | None = None
        self._keyword: _Token | None = None
        self._last: tuple[int | None, str | None] | None = None
        """The clause found before the last one. It is valid again if something else than SETTINGS follows the last one."""

    def take(self, token: _Token) -> None:
        """Read the next token."""
        if self._last is not None:
            if not token.is_word(b"SETTINGS"):
                self.start, self.name = self._last
            self._last = None
        if self._keyword is not None and token.kind == "word":
            self._last = self.start, self.name
            self.start, self.name = self._keyword.start, token.text.decode()
        follows = self._before is not None and token.depth == 0 and token.is_word(b"FORMAT")
        self._keyword = token if follows else None
        self._before = token


class _Inputs:
    """Finds the calls of input(), token by token. A name before a list of columns is no call: INSERT INTO input (a)."""

    def __init__(self, text: bytes) -> None:
        self.found: list[Input] = []
        self._text = text
        self._before = (_NOTHING, _NOTHING)
        self._open: tuple[_Token, _Token] | None = None

    def take(self, token: _Token) -> None:
        """Read the next token."""
        place, name = self._before
        self._before = name, token
        if self._open is not None:
            called, bracket = self._open
            if token.text == b")" and token.depth == bracket.depth:
                self._open = None
                self.found.append(
                    Input(called.start, token.end, self._text[bracket.end : token.start].strip())
                )
        elif (
            token.text == b"("
            and name.name == b"input"
            and (place.text in (b",", b"(") or place.is_word(b"FROM", b"JOIN", b"AS", b"IN"))
        ):
            self._open = name, token

    def only(self) -> Input | None:
        """Return the only call, or None. Raises ClickHouseError if there are several."""
        if len(self.found) > 1:
            raise _wrong_input("You can use 'input()' function only once per request.")
        return self.found[0] if self.found else None


def _wrong_input(message: str) -> ClickHouseError:
    return ClickHouseError(477, "INVALID_USAGE_OF_INPUT", message)


def _is_clause(before: _Token) -> bool:
    """Return whether FORMAT or SETTINGS after the token `before` begins a clause. Otherwise, it is a name."""
    if before.kind == "sign":
        return before.text in (b")", b"]", b"}", b"*")
    return not before.is_word(*_BEFORE_A_NAME)


class _Insert:
    """Parses an INSERT, token by token, from the token after its keyword."""

    def __init__(self, keyword: _Token) -> None:
        self._before = keyword
        self._named = False
        self._selects = False
        self._bracketed_select = False
        self._settings: int | None = None
        self._setting: int | None = None
        self._all_settings: list[bytes] = []
        self._format: _Token | None = None
        self._has_no_data = False

    def take(self, text: bytes, token: _Token, inputs: _Inputs) -> Statement | None:
        """Read the next token; return the statement if its data begins after this token."""
        before, self._before = self._before, token
        if self._has_no_data:
            return None
        if self._format is not None:
            keyword, self._format = self._format, None
            if (statement := self._formatted(text, keyword, token, inputs)) is not None or self._has_no_data:
                return statement
        # In (SELECT 1) a query begins; in (select, b) and (select) it is the name of a column.
        if self._bracketed_select and token.text not in (b",", b")"):
            self._selects = True
        self._bracketed_select = before.text == b"(" and token.is_word(b"SELECT", b"WITH")
        if token.depth:
            return None
        self._take_setting(text, before, token)
        if before.is_word(b"INSERT", b"INTO", b"TABLE", b"FUNCTION") and not self._named:
            self._named = not token.is_word(b"INTO", b"TABLE", b"FUNCTION")
        elif before.text == b".":
            pass
        elif token.is_word(b"SELECT", b"WITH", b"WATCH"):
            self._selects = True
        elif token.is_word(b"SETTINGS") and self._settings is None:
            self._settings = token.start
        elif token.is_word(b"VALUES") and not self._selects:
            return Statement(Kind.INSERT, "INSERT", self._place(token), token.end, "Values", token.start)
        elif token.is_word(b"FORMAT") and (not self._selects or _is_clause(before)):
            self._format = token
        return None

    def _take_setting(self, text: bytes, before: _Token, token: _Token) -> None:
        """Keep the content of each SETTINGS clause."""
        ends = token.text == b"(" or token.is_word(
            b"SELECT", b"WITH", b"FROM", b"FORMAT", b"UNION", b"EXCEPT", b"INTERSECT"
        )
        if self._setting is not None and ends:
            self._all_settings.append(text[self._setting : token.start].strip())
            self._setting = None
        elif self._setting is None and token.is_word(b"SETTINGS") and _is_clause(before):
            self._setting = token.end

    def _place(self, token: _Token) -> int:
        return token.start if self._settings is None else self._settings

    def _formatted(self, text: bytes, keyword: _Token, name: _Token, inputs: _Inputs) -> Statement | None:
        """Return the statement if `name` after FORMAT is a format."""
        if self._selects and (name.kind != "word" or name.is_word(*_AFTER_A_NAME)):
            # A column or table with the name `format`.
            return None
        if name.kind != "word":
            self._has_no_data = True
            return None
        selection = Selection(inputs.only(), tuple(self._all_settings)) if self._selects else None
        place, data = self._place(keyword), _data_start(text, name.end)
        return Statement(Kind.INSERT, "INSERT", place, data, name.text.decode(), keyword.start, selection)


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
