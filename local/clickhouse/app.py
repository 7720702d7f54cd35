"""ClickHouse's HTTP interface over the engine, as an ASGI application.

Served by uvicorn with httptools, which Airflow brings along. An asynchronous server and not one of threads,
because two of the promises need to see the connection while a statement runs: a client that goes away cancels its
statement, and a body that breaks off is told from one that ended. What is long runs in threads: the engine
releases the interpreter's lock, and so do the codecs.

A request's way: check the password; read the statement from the URL and the body; for an INSERT write the rest
of the body, decompressed, into an unnamed file, and only when it is complete run `INSERT … FROM INFILE`; for a
query run `… INTO OUTFILE` on a pipe and send on what arrives. So the engine writes and reads every format in its
own code, no body passes through it half, and memory stays flat however much data there is.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import fcntl
import hmac
import json
import os
import secrets
import shutil
import tempfile
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import IO, TypeVar

from starlette.datastructures import Headers, UploadFile
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from local.clickhouse.codecs import Decoder, decoder, encoder
from local.clickhouse.engine import Engine, Handle, Result, quote_name
from local.clickhouse.errors import ClickHouseError
from local.clickhouse.sessions import Sessions, session_timeout
from local.clickhouse.statement import Kind, Statement, guard, parse

T = TypeVar("T")

# A statement has to be found in this much of a body, as on a server (max_query_size).
_HEAD = 256 << 10
# A statement without data is held in memory; the engine's own limit (max_query_size) comes earlier.
_LARGEST_STATEMENT = 64 << 20
# Answers up to this size go out only once the statement has ended, so that its error can still be their status.
_HELD_BACK = 1 << 20
_PIECE = 1 << 20
# Values of an INSERT that may be expressions are looked through for calls that reach files.
_LARGEST_EXPRESSIONS = 1 << 20
_ENGINE_THREADS = 128
# What a refused client may still be sending is read and thrown away up to this size.
_LARGEST_DISCARDED = 64 << 20
_KILL_AGAIN = 0.1

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

_CONTENT_TYPES = {
    "CSV": "text/csv; charset=UTF-8",
    "CSVWithNames": "text/csv; charset=UTF-8",
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "TSV": "text/tab-separated-values; charset=UTF-8",
    "TabSeparatedWithNames": "text/tab-separated-values; charset=UTF-8",
    "Native": "application/octet-stream",
    "Arrow": "application/vnd.apache.arrow.file",
    "ArrowStream": "application/vnd.apache.arrow.stream",
    "Parquet": "application/vnd.apache.parquet",
}


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


class _Body:
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

    async def read_into(self, text: bytearray, decode: Decoder, limit: int) -> None:
        """Read until `text` holds more than `limit` bytes or the body has ended."""
        while not self.ended and len(text) <= limit:
            text += await self._next(decode)

    async def spool(self, decode: Decoder, file: IO[bytes]) -> None:
        """Write the rest of the body to `file`; at no time is more than a piece of it in memory."""
        while not self.ended:
            pieces: list[bytes] = []
            size = 0
            while not self.ended and size < _PIECE:
                message = await self._receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                self.ended = not message.get("more_body", False)
                pieces.append(message.get("body", b""))
                size += len(pieces[-1])
            await asyncio.to_thread(_write_decoded, pieces, decode, file)
        decode.finish()

    async def discard(self) -> None:
        """Read what is left, within bounds: a client that is still sending would not see the answer."""
        left = _LARGEST_DISCARDED
        while not self.ended and left > 0:
            left -= len(await self._next(None))


def _write_decoded(pieces: list[bytes], decode: Decoder, file: IO[bytes]) -> None:
    for piece in pieces:
        _write(file, decode.feed(piece))


def _write(file: IO[bytes], data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


@dataclass
class _ExternalTable:
    """A file of a form: a table that exists for one statement."""

    name: str
    structure: str
    format: str
    file: IO[bytes]


@dataclass
class _Job:
    """One statement on one handle; `run` belongs into a thread."""

    handle: Handle
    release: Callable[[], None]
    """Gives the handle back, at most once: before the answer's last byte, for the client's next request may use it."""
    parameters: Parameters
    statement: Statement
    text: bytes
    data: IO[bytes] | None = None
    external: list[_ExternalTable] = field(default_factory=list)
    output: int | None = None
    """The pipe's end for a QUERY's result."""
    cancelled: bool = False

    def run(self) -> Result:
        """Run the statement. Raises ClickHouseError; closes the output, so that its reader sees the end."""
        try:
            if self.cancelled:
                raise ClickHouseError(394, "QUERY_WAS_CANCELLED", "Query was cancelled.")
            try:
                sql = self._sql()
            except UnicodeDecodeError as error:
                raise ClickHouseError(
                    62, "SYNTAX_ERROR", f"The statement is not UTF-8: {error.reason}"
                ) from None
            return self._run(sql)
        finally:
            if self.output is not None:
                os.close(self.output)

    def _sql(self) -> str:
        statement, text = self.statement, self.text
        if statement.kind is Kind.OTHER:
            return text[: statement.end].decode()
        before = text[: statement.clause].decode()
        if statement.kind is Kind.QUERY:
            after = text[statement.clause : statement.end].decode()
            if statement.format is None:
                after += f"\nFORMAT {self.parameters.default_format}"
            return f"{before}\nINTO OUTFILE '/dev/fd/{self.output}' APPEND\n{after}"
        if self.data is None:
            raise ClickHouseError(108, "NO_DATA_TO_INSERT", "The INSERT has no data")
        settings = text[statement.clause : statement.end].decode()
        return f"{before}\nFROM INFILE '/dev/fd/{self.data.fileno()}'\n{settings}\nFORMAT {statement.format}"

    def _run(self, sql: str) -> Result:
        handle = self.handle
        settings = self.parameters.settings(
            frozenset(key for table in self.external for key in _form_keys(table.name))
        )
        if self.data is not None and self.statement.format == "Values":
            settings |= _settings_for_values(self.data)
        if self.statement.verb in ("SET", "USE"):
            handle.bare()
            settings = {}
        handle.prepare(None if self.statement.verb == "USE" else self.parameters.database, settings)
        try:
            for table in self.external:
                handle.query(f"CREATE TEMPORARY TABLE {quote_name(table.name)} ({table.structure})")
                handle.query(
                    f"INSERT INTO {quote_name(table.name)} FROM INFILE '/dev/fd/{table.file.fileno()}' "
                    f"FORMAT {table.format}"
                )
            result = handle.query(sql, self.parameters.default_format, self.parameters.query_parameters)
        finally:
            for table in self.external:
                handle.query(f"DROP TEMPORARY TABLE IF EXISTS {quote_name(table.name)}")
        if self.statement.verb == "USE":
            handle.changed_database()
        return result


def _settings_for_values(data: IO[bytes]) -> dict[str, str]:
    """Keep expressions among an INSERT's values from reading files of the machine.

    Returns settings for the statement. Raises ClickHouseError when one of the expressions calls file().
    """
    size = os.fstat(data.fileno()).st_size
    if size > _LARGEST_EXPRESSIONS:
        return {"input_format_values_interpret_expressions": "0"}
    guard(os.pread(data.fileno(), size, 0))
    return {}


def _form_keys(name: str) -> tuple[str, str, str]:
    return f"{name}_structure", f"{name}_types", f"{name}_format"


class _Answer:
    """The response to one request."""

    def __init__(self, send: Send, engine: Engine) -> None:
        self._send = send
        self._engine = engine
        self._query_id: str = ""
        self._timezone = engine.timezone
        self._tag = secrets.token_hex(8)
        self._started = False

    def note(self, parameters: Parameters) -> None:
        """Take over what the request says about its answer."""
        self._query_id = parameters.url.get("query_id") or str(uuid.uuid4())
        self._timezone = parameters.url.get("session_timezone") or self._engine.timezone

    async def _start(self, status: HTTPStatus, headers: dict[str, str]) -> None:
        common = {
            "X-ClickHouse-Server-Display-Name": "clickhouse-embedded",
            "X-ClickHouse-Query-Id": self._query_id,
            "X-ClickHouse-Timezone": self._timezone,
            "X-ClickHouse-Exception-Tag": self._tag,
        }
        self._started = True
        await self._send(
            {
                "type": "http.response.start",
                "status": int(status),
                "headers": [
                    (name.lower().encode("latin-1"), value.encode("latin-1", "replace"))
                    for name, value in {**common, **headers}.items()
                    # A value of the client's own must not end a header's line.
                    if value and value.isprintable()
                ],
            }
        )

    async def _body(self, data: bytes, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def plain(self, status: HTTPStatus, text: bytes) -> None:
        """Answer with a text of the service itself."""
        await self._start(
            status, {"Content-Type": "text/plain; charset=UTF-8", "Content-Length": str(len(text))}
        )
        await self._body(text, more=False)

    async def error(self, error: ClickHouseError) -> None:
        """Answer with an error; in the middle of a result end it so that no client takes it for whole."""
        text = error.text(self._engine.version).encode()
        if not self._started:
            await self._start(
                error.status,
                {
                    "Content-Type": "text/plain; charset=UTF-8",
                    "Content-Length": str(len(text)),
                    "X-ClickHouse-Exception-Code": str(error.code),
                },
            )
            await self._body(text, more=False)

    def _broken_off(self, error: ClickHouseError) -> bytes:
        """Return the block that a server (from 25.11) writes behind a result that an error has cut short."""
        text = error.text(self._engine.version).encode()
        tag = self._tag.encode()
        return b"\r\n__exception__\r\n%b\r\n%b%d %b\r\n__exception__\r\n" % (tag, text, len(text), tag)

    def _result_headers(self, job: _Job, result: Result | None, output_format: str | None) -> dict[str, str]:
        counts = {
            "read_rows": result.read_rows if result else 0,
            "read_bytes": result.read_bytes if result else 0,
            "written_rows": result.written_rows if result else 0,
            "written_bytes": result.written_bytes if result else 0,
            "total_rows_to_read": result.read_rows if result else 0,
            "result_rows": result.result_rows if result else 0,
            "result_bytes": result.result_bytes if result else 0,
            "elapsed_ns": result.elapsed_ns if result else 0,
        }
        headers = {"X-ClickHouse-Summary": json.dumps({name: str(count) for name, count in counts.items()})}
        if output_format:
            headers["X-ClickHouse-Format"] = output_format
        headers["Content-Type"] = _CONTENT_TYPES.get(output_format or "", "text/plain; charset=UTF-8")
        return headers

    async def statement(self, job: _Job, work: asyncio.Future[Result]) -> None:
        """Answer a statement whose whole output comes with its result."""
        result = await asyncio.shield(work)
        job.release()
        named = job.statement.format if job.statement.kind is Kind.OTHER else None
        gives_result = bool(result.output) or job.statement.gives_result
        output_format = (named or job.parameters.default_format) if gives_result else None
        headers = self._result_headers(job, result, output_format)
        output = result.output
        if output and (found := encoder(job.parameters.encodings)):
            headers["Content-Encoding"], encode = found
            output = await asyncio.to_thread(lambda: encode.feed(result.output) + encode.finish())
        await self._start(HTTPStatus.OK, {**headers, "Content-Length": str(len(output))})
        await self._body(output, more=False)

    async def query(self, job: _Job, work: asyncio.Future[Result], source: asyncio.StreamReader) -> bool:
        """Send a query's result as it comes; return False when it broke off after its first bytes were sent.

        Up to a size (for wait_end_of_query up to its end) the result is held back, so that an error of the query
        can still be the answer's status, and the counts stand in its headers.
        """
        output_format = job.statement.format or job.parameters.default_format
        with tempfile.SpooledTemporaryFile(max_size=4 * _HELD_BACK, dir=str(self._engine.spool)) as held:
            size = 0
            ended = False
            while not ended and (size < _HELD_BACK or job.parameters.waits_for_end):
                piece = await source.read(_PIECE)
                ended = not piece
                size += len(piece)
                if size > 4 * _HELD_BACK:
                    await asyncio.to_thread(held.write, piece)
                else:
                    held.write(piece)
            result = None
            if ended:
                result = await asyncio.shield(work)
                job.release()
            headers = self._result_headers(job, result, output_format)
            found = encoder(job.parameters.encodings) if size else None
            if found:
                headers["Content-Encoding"] = found[0]
            elif ended:
                headers["Content-Length"] = str(size)
            encode = found[1] if found else None

            async def pass_on(data: bytes) -> None:
                await self._body(await asyncio.to_thread(encode.feed, data) if encode else data, more=True)

            await self._start(HTTPStatus.OK, headers)
            held.seek(0)
            while piece := held.read(_PIECE):
                await pass_on(piece)
        broken: ClickHouseError | None = None
        if not ended:
            while piece := await source.read(_PIECE):
                await pass_on(piece)
            try:
                await asyncio.shield(work)
            except ClickHouseError as error:
                broken = error
                await pass_on(self._broken_off(error))
            job.release()
        if encode:
            await self._body(encode.finish(), more=True)
        if broken is None:
            await self._body(b"", more=False)
        return broken is None


class Service:
    """The ASGI application; `close` when the server has stopped."""

    def __init__(self, engine: Engine, user: str, password: str) -> None:
        self._engine = engine
        self._user = user
        self._password = password
        self._threads = ThreadPoolExecutor(_ENGINE_THREADS, "statement")
        self._sessions = Sessions(lambda: self._in_thread(engine.handle))
        self._requests: set[asyncio.Future[None]] = set()

    async def close(self) -> None:
        """Wait for the statements that are being cancelled, and close every handle."""
        while self._requests:
            await asyncio.wait(self._requests)
        self._threads.shutdown(wait=True)
        self._sessions.close()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        ended = asyncio.get_running_loop().create_future()
        self._requests.add(ended)
        request = Request(scope, receive)
        body = _Body(receive)
        answer = _Answer(send, self._engine)
        try:
            await self._answer(request, body, answer)
        except ClickHouseError as error:
            with contextlib.suppress(ClientDisconnect):
                await body.discard()
                await answer.error(error)
        except ClientDisconnect:
            return
        finally:
            self._requests.discard(ended)
            ended.set_result(None)

    async def _answer(self, request: Request, body: _Body, answer: _Answer) -> None:
        path, method = request.url.path, request.method
        if path == "/ping" or (path == "/" and method in ("GET", "HEAD") and not request.url.query):
            await answer.plain(HTTPStatus.OK, b"Ok.\n")
        elif path not in ("/", "/query"):
            await answer.plain(HTTPStatus.NOT_FOUND, f"There is no handle {path}; use / or /ping.\n".encode())
        elif method not in ("GET", "POST"):
            await answer.plain(HTTPStatus.METHOD_NOT_ALLOWED, b"Use GET or POST.\n")
        else:
            self._authenticate(request)
            async with contextlib.AsyncExitStack() as stack:
                await self._run(request, body, answer, stack)

    def _authenticate(self, request: Request) -> None:
        """Check user and password. Raises ClickHouseError 516, which does not tell which of the two is wrong."""
        headers, url = request.headers, request.query_params
        given: list[tuple[str, str]] = []
        if "x-clickhouse-user" in headers or "x-clickhouse-key" in headers:
            given.append((headers.get("x-clickhouse-user", "default"), headers.get("x-clickhouse-key", "")))
        if "authorization" in headers:
            given.append(_basic(headers["authorization"]))
        if "user" in url or "password" in url:
            given.append((url.get("user", "default"), url.get("password", "")))
        if len(given) > 1:
            raise _authentication_failed(
                "Invalid authentication: it is not allowed to use X-ClickHouse HTTP headers, Authorization HTTP "
                "header and authentication parameters of the URL simultaneously"
            )
        user, password = given[0] if given else ("default", "")
        same_user = hmac.compare_digest(user.encode(), self._user.encode())
        same_password = hmac.compare_digest(password.encode(), self._password.encode())
        if not (same_user and same_password):
            raise _authentication_failed(
                f"{user}: Authentication failed: password is incorrect, or there is no user with such name."
            )

    async def _run(
        self, request: Request, body: _Body, answer: _Answer, stack: contextlib.AsyncExitStack
    ) -> None:
        url = dict(request.query_params)
        external: list[_ExternalTable] = []
        if request.headers.get("content-type", "").startswith("multipart/form-data"):
            external = await self._read_form(request, url, stack)
            body.ended = True
        parameters = Parameters(url, request.headers)
        answer.note(parameters)
        for name in ("compress", "decompress"):
            if parameters.flag(name):
                raise ClickHouseError(
                    48,
                    "NOT_IMPLEMENTED",
                    f"{name}=1 (ClickHouse's own blocks) is not supported here; use Content-Encoding and "
                    "Accept-Encoding",
                )
        timeout = session_timeout(url.get("session_timeout"))
        decode = decoder(request.headers.get("content-encoding", ""))
        head = bytearray()
        if text := url.get("query", "").strip():
            head += text.encode() + b"\n"
        await body.read_into(head, decode, _HEAD)
        text_read = bytes(head)
        statement = parse(text_read)
        data: IO[bytes] | None = None
        if statement.kind is Kind.INSERT:
            data = self._unnamed_file(stack)
            _write(data, memoryview(text_read)[statement.data :])
            await body.spool(decode, data)
        elif not body.ended:
            await body.read_into(head, decode, _LARGEST_STATEMENT)
            if not body.ended:
                raise ClickHouseError(
                    229, "QUERY_IS_TOO_LARGE", f"The statement is larger than {_LARGEST_STATEMENT} bytes"
                )
            text_read = bytes(head)
            statement = await asyncio.to_thread(parse, text_read)
        _check_allowed(request.method, parameters, statement)
        use = stack.enter_context(contextlib.ExitStack())
        if session := url.get("session_id"):
            handle = await self._sessions.acquire(session, parameters.flag("session_check"))
            use.callback(self._sessions.release, session, timeout)
        else:
            handle = await self._in_thread(self._engine.handle)
            use.callback(handle.close)
        job = _Job(handle, use.close, parameters, statement, text_read, data, external)
        await self._execute(request, job, answer)

    async def _read_form(
        self, request: Request, url: dict[str, str], stack: contextlib.AsyncExitStack
    ) -> list[_ExternalTable]:
        """Read a form: its fields join the URL's parameters, its files become tables of the statement."""
        form = await stack.enter_async_context(request.form(max_part_size=_LARGEST_STATEMENT))
        url.update({name: value for name, value in form.multi_items() if isinstance(value, str)})
        tables = []
        for name, upload in form.multi_items():
            if not isinstance(upload, UploadFile):
                continue
            structure_key, types_key, format_key = _form_keys(name)
            structure = url.get(structure_key)
            if structure is None:
                types = url.get(types_key)
                if types is None:
                    raise ClickHouseError(
                        36,
                        "BAD_ARGUMENTS",
                        f"Neither structure nor types have not been specified for external table {name}",
                    )
                structure = ", ".join(f"_{number} {kind}" for number, kind in enumerate(types.split(","), 1))
            guard(structure.encode())
            file = self._unnamed_file(stack)
            await asyncio.to_thread(shutil.copyfileobj, upload.file, file, _PIECE)
            tables.append(_ExternalTable(name, structure, url.get(format_key, "TabSeparated"), file))
        return tables

    def _unnamed_file(self, stack: contextlib.AsyncExitStack) -> IO[bytes]:
        """Return a file that has no name and vanishes with its request, or with this process."""
        return stack.enter_context(tempfile.TemporaryFile(dir=self._engine.spool, buffering=0))

    async def _execute(self, request: Request, job: _Job, answer: _Answer) -> None:
        """Run the job in a thread and send its answer; cancel it when the client, or the service, goes away."""
        loop = asyncio.get_running_loop()
        source: asyncio.StreamReader | None = None
        pipe: asyncio.ReadTransport | None = None
        if job.statement.kind is Kind.QUERY:
            source, pipe, job.output = await _open_pipe()
        work = loop.run_in_executor(self._threads, job.run)
        # An error that nobody waits for any more is not one to report.
        work.add_done_callback(lambda done: done.exception())
        gone = asyncio.ensure_future(_disconnected(request))
        sending = asyncio.ensure_future(
            answer.statement(job, work) if source is None else answer.query(job, work, source)
        )
        try:
            await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            if not sending.done():
                sending.cancel()
            if pipe is not None:
                pipe.close()
            job.cancelled = True
            while not work.done():
                # Again and again: the statement may not have begun, or be between two of its steps.
                await asyncio.to_thread(self._engine.kill, job.handle.tag)
                await asyncio.wait({work}, timeout=_KILL_AGAIN)
        with contextlib.suppress(asyncio.CancelledError):
            await sending


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _open_pipe() -> tuple[asyncio.StreamReader, asyncio.ReadTransport, int]:
    """Return a pipe: its reader, the transport to close, and the descriptor of the end to write to."""
    read_end, write_end = os.pipe()
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(PermissionError):
            fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, _PIECE)
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=_PIECE)
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_end, "rb", buffering=0)
    )
    return reader, transport, write_end


def _basic(header: str) -> tuple[str, str]:
    """Return user and password of an Authorization header."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        raise _authentication_failed(
            f"Invalid authentication: '{scheme}' HTTP Authorization scheme is not supported"
        )
    try:
        user, _, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise _authentication_failed(
            "Invalid authentication: the Authorization header is no valid Basic one"
        ) from None
    return user, password


def _authentication_failed(message: str) -> ClickHouseError:
    return ClickHouseError(516, "AUTHENTICATION_FAILED", message)


def _check_allowed(method: str, parameters: Parameters, statement: Statement) -> None:
    if statement.read_only:
        return
    if method == "GET":
        raise ClickHouseError(
            164,
            "READONLY",
            "Cannot execute query in readonly mode. For queries over HTTP, method GET implies readonly. You should "
            "use method POST for modifying queries.",
        )
    if parameters.url.get("readonly", "0") != "0":
        raise ClickHouseError(164, "READONLY", "Cannot execute query in readonly mode.")
