"""ClickHouse's HTTP interface over the engine, as an ASGI application.

uvicorn with httptools serves it; Airflow depends on both anyway. The server is asynchronous, because two features must see
the connection while a statement runs: the statement is cancelled when its client disconnects, and an incomplete body is
distinguished from a complete one. Long work runs in threads: the engine and the codecs release the interpreter's lock.

The steps of a request: check the password. Read the statement from the URL and the body. For an INSERT, write the rest of
the body, decompressed, to an unnamed file, and run `INSERT … FROM INFILE` only when the body is complete. For a query,
run `… INTO OUTFILE` on a pipe, and send what arrives. So the engine itself reads and writes all formats, never gets half
a body, and memory use does not depend on the amount of data.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import IO, TypeVar

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from local.servers.clickhouse.access import authenticate, check_allowed
from local.servers.clickhouse.answer import Answer
from local.servers.clickhouse.codecs import Decoder, decoder
from local.servers.clickhouse.engine import Engine
from local.servers.clickhouse.errors import ClickHouseError
from local.servers.clickhouse.job import ExternalTable, Job, form_keys
from local.servers.clickhouse.pipe import PIECE, Pipe, in_thread
from local.servers.clickhouse.request import Body, Parameters, check_format, write
from local.servers.clickhouse.sessions import Sessions, session_timeout
from local.servers.clickhouse.statement import LONGEST_KEPT, Kind, Statement, check_structure, parse

T = TypeVar("T")

# The statement must end within this many bytes of a body, as on a server (max_query_size).
_HEAD = 256 << 10
# The fields of a form are held in memory; its files are not.
_LARGEST_FIELD = 1 << 20
_MOST_FIELDS = 100
_ENGINE_THREADS = 128
_KILL_AGAIN = 0.1


class Service:
    """The ASGI application. Call `close` after the server has stopped."""

    def __init__(self, engine: Engine, user: str, password: str) -> None:
        self._engine = engine
        self._user = user
        self._password = password
        self._threads = ThreadPoolExecutor(_ENGINE_THREADS, "statement")
        self._sessions = Sessions(lambda: self._in_thread(lambda: engine.handle(lasting=True)))
        self._requests: set[asyncio.Future[None]] = set()

    async def close(self) -> None:
        """Wait until cancelled statements have ended, and close all handles."""
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
        body = Body(receive)
        request = Request(scope, body.receive)
        answer = Answer(send, self._engine)
        try:
            await self._answer(request, body, answer)
        except ClickHouseError as error:
            with contextlib.suppress(ClientDisconnect):
                await body.discard()
                await answer.error(error)
        except ClientDisconnect:
            return
        except asyncio.CancelledError:
            # Only the server cancels a request: when it stops and the grace period is over.
            await answer.error(ClickHouseError(236, "ABORTED", "The service is being stopped"))
        finally:
            self._requests.discard(ended)
            ended.set_result(None)

    async def _answer(self, request: Request, body: Body, answer: Answer) -> None:
        path, method = request.url.path, request.method
        if path == "/ping" or (path == "/" and method in ("GET", "HEAD") and not request.url.query):
            await answer.plain(HTTPStatus.OK, b"Ok.\n")
        elif path not in ("/", "/query"):
            await answer.plain(HTTPStatus.NOT_FOUND, f"There is no handle {path}; use / or /ping.\n".encode())
        elif method not in ("GET", "POST"):
            await answer.plain(HTTPStatus.METHOD_NOT_ALLOWED, b"Use GET or POST.\n")
        else:
            authenticate(request, self._user, self._password)
            async with contextlib.AsyncExitStack() as stack:
                await self._run(request, body, answer, stack)

    async def _run(
        self, request: Request, body: Body, answer: Answer, stack: contextlib.AsyncExitStack
    ) -> None:
        url = dict(request.query_params)
        external: list[ExternalTable] = []
        if request.headers.get("content-type", "").startswith("multipart/form-data"):
            external = await self._read_form(request, url, stack)
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
        # They become part of statements.
        for name in (parameters.default_format, *(table.format for table in external)):
            check_format(name)
        timeout = session_timeout(url.get("session_timeout"))
        decode = decoder(request.headers.get("content-encoding", ""))
        head = bytearray()
        if text := url.get("query", "").strip():
            head += text.encode() + b"\n"
        statement = await _read_statement(body, decode, head, parameters.longest_statement)
        text_read = bytes(head)
        data: IO[bytes] | None = None
        if statement.kind is Kind.INSERT:
            data = self._unnamed_file(stack)
            write(data, memoryview(text_read)[statement.data :])
            await body.spool(decode, data)
        check_allowed(request.method, parameters, statement)
        use = stack.enter_context(contextlib.ExitStack())
        if session := url.get("session_id"):
            handle = await self._sessions.acquire(session, parameters.flag("session_check"))
            use.callback(self._sessions.release, session, timeout)
        else:
            handle = await self._in_thread(lambda: self._engine.handle(lasting=False))
            use.callback(handle.close)
        job = Job(handle, use.close, parameters, statement, text_read, data, external)
        await self._execute(request, job, answer)

    async def _read_form(
        self, request: Request, url: dict[str, str], stack: contextlib.AsyncExitStack
    ) -> list[ExternalTable]:
        """Read a form: its fields are added to the URL's parameters, its files become external tables of the statement."""
        try:
            form = await stack.enter_async_context(
                request.form(max_fields=_MOST_FIELDS, max_part_size=_LARGEST_FIELD)
            )
        except MultiPartException as error:
            raise ClickHouseError(
                229, "QUERY_IS_TOO_LARGE", f"The form can't be read: {error.message}"
            ) from None
        url.update({name: value for name, value in form.multi_items() if isinstance(value, str)})
        tables = []
        for name, upload in form.multi_items():
            if not isinstance(upload, UploadFile):
                continue
            structure_key, types_key, format_key = form_keys(name)
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
            await in_thread(check_structure, structure.encode())
            file = self._unnamed_file(stack)
            await in_thread(shutil.copyfileobj, upload.file, file, PIECE)
            tables.append(ExternalTable(name, structure, url.get(format_key, "TabSeparated"), file))
        return tables

    def _unnamed_file(self, stack: contextlib.AsyncExitStack) -> IO[bytes]:
        """Return a file without a name, which disappears with the request or with this process."""
        return stack.enter_context(tempfile.TemporaryFile(dir=self._engine.spool, buffering=0))

    async def _execute(self, request: Request, job: Job, answer: Answer) -> None:
        """Run the job in a thread and send its answer. Cancel it if the client disconnects or the service stops."""
        pipe = Pipe() if job.statement.kind is Kind.QUERY else None
        if pipe is not None:
            job.output = pipe.write_end
        work = asyncio.get_running_loop().run_in_executor(self._threads, job.run)
        # Marks the error as handled: nobody may wait for the job any more, and asyncio would log it.
        work.add_done_callback(lambda done: done.exception())
        gone = asyncio.ensure_future(_disconnected(request))
        sending = asyncio.ensure_future(
            answer.statement(job, work) if pipe is None else answer.query(job, work, pipe)
        )
        try:
            await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            sending.cancel()
            await asyncio.wait({sending})
            if pipe is not None:
                pipe.close()
            job.cancelled = True
            while not work.done():
                # Repeated, because the statement may not have begun yet, or may be between two of its steps.
                await asyncio.to_thread(self._engine.kill, job.handle.tag)
                await asyncio.wait({work}, timeout=_KILL_AGAIN)
        if not sending.cancelled():
            sending.result()


async def _read_statement(body: Body, decode: Decoder, text: bytearray, longest: int) -> Statement:
    """Read a complete statement into `text`; of an INSERT with data, only the beginning of the data.

    Raises ClickHouseError if the statement has more than `longest` bytes.
    """
    whole = await body.read_into(text, decode, _HEAD)
    try:
        # A longer one in a thread: it takes some milliseconds per 10 KB.
        short = len(text) <= LONGEST_KEPT
        statement = parse(bytes(text)) if short else await in_thread(parse, bytes(text))
    except ClickHouseError:
        # An incomplete statement may have a syntax error that the complete one does not have.
        if whole:
            raise
    else:
        if whole or statement.kind is Kind.INSERT:
            return statement
    if not await body.read_into(text, decode, longest):
        raise ClickHouseError(
            62,
            "SYNTAX_ERROR",
            f"Syntax error: Max query size exceeded (the statement is longer than {longest} bytes; max_query_size "
            "among the request's settings allows up to 16 MiB)",
        )
    return await in_thread(parse, bytes(text))


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
