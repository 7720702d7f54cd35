"""Errors in ClickHouse's form: a code, a name, a message, and the code's HTTP status."""

from __future__ import annotations

import re
from http import HTTPStatus

_CODE = re.compile(r"Code: (\d+)\. DB::Exception: (.*?)(?: \(([A-Z][A-Z0-9_]+)\))?\s*\Z", re.DOTALL)
# For an error in a file's data, the message contains a complete inner error, with its code and version.
_NESTED = re.compile(
    r"Code: \d+\. DB::Exception: (.*?) \([A-Z][A-Z0-9_]+\) \(version [^)]*\)\.?\Z", re.DOTALL
)
# Bodies and results are passed to the engine as files. Their names mean nothing to the client, so they are removed.
_BODY_FILE = re.compile(
    r" ?\(in file/uri /dev/fd/\d+\)|:? While executing File: data for INSERT was parsed from file"
    r"|\s+INTO OUTFILE '/dev/fd/\d+' APPEND|\s+FROM INFILE '/dev/fd/\d+'"
)
# The table that stands for the table function input().
_INPUT_TABLE = re.compile(r"(`?)_input_[0-9a-f]{32}\1")

# From ClickHouse (src/Server/HTTP/exceptionCodeToHTTPStatus.cpp); the status of all other codes is 500.
_STATUS: dict[HTTPStatus, tuple[int, ...]] = {
    HTTPStatus.UNAUTHORIZED: (194,),
    HTTPStatus.FORBIDDEN: (192, 193, 497, 512, 516),
    # Text that can't be parsed, converted or compiled, and wrong columns.
    HTTPStatus.BAD_REQUEST: (
        *(6, 8, 15, 25, 26, 27, 36, 37, 38, 41, 44, 53, 62, 72, 117, 123),
        *(167, 168, 223, 321, 376, 427, 441, 675, 676),
    ),
    # Tables, functions, identifiers, types, databases, settings, formats and roles that don't exist.
    HTTPStatus.NOT_FOUND: (46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 152, 336, 511),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: (229,),
    HTTPStatus.NOT_IMPLEMENTED: (48,),
    HTTPStatus.SERVICE_UNAVAILABLE: (76, 209, 439),
    HTTPStatus.LENGTH_REQUIRED: (381,),
    HTTPStatus.REQUEST_TIMEOUT: (159,),
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: (779,),
}
_STATUS_OF_CODE = {code: status for status, codes in _STATUS.items() for code in codes}


class ClickHouseError(Exception):
    """An error for the client. `code` and `name` are ClickHouse's, `message` is a text for people."""

    def __init__(self, code: int, name: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.name = name
        self.message = message

    @classmethod
    def from_engine(cls, text: str) -> ClickHouseError:
        """Parse the engine's exception text. A text without a code becomes 1002."""
        if found := _CODE.search(text):
            message = found[2]
            if nested := _NESTED.match(message):
                message = nested[1]
            message = _INPUT_TABLE.sub("input", _BODY_FILE.sub("", message))
            return cls(int(found[1]), found[3] or "UNKNOWN_EXCEPTION", message)
        return cls(1002, "UNKNOWN_EXCEPTION", text.strip() or "the engine gave no reason")

    @property
    def status(self) -> HTTPStatus:
        """Return the HTTP status of a ClickHouse server for this code."""
        return _STATUS_OF_CODE.get(self.code, HTTPStatus.INTERNAL_SERVER_ERROR)

    def text(self, version: str) -> str:
        """Return the response body in ClickHouse's own form, which clients parse."""
        return f"Code: {self.code}. DB::Exception: {self.message} ({self.name}) (version {version})\n"


class DataFolderError(Exception):
    """The data folder can't be used. The message is the reason, on one line."""
