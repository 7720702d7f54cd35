"""The response to one request: headers and errors as from a ClickHouse server, and the result as a stream."""

from __future__ import annotations

import asyncio
import json
import secrets
import tempfile
import uuid
from http import HTTPStatus

from starlette.types import Send

from local.servers.clickhouse.codecs import Encoder, encoder
from local.servers.clickhouse.engine import Engine, Result
from local.servers.clickhouse.errors import ClickHouseError
from local.servers.clickhouse.job import Job
from local.servers.clickhouse.pipe import PIECE, Pipe, in_thread
from local.servers.clickhouse.request import Parameters
from local.servers.clickhouse.statement import Kind

# Results up to this size are sent only after the statement has ended, so that an error can still be the HTTP status.
_HELD_BACK = 1 << 20
# The last bytes of a stream are sent only after the statement has succeeded. No format's end mark is longer.
_TAIL = 64

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


class Answer:
    """The response to one request."""

    def __init__(self, send: Send, engine: Engine) -> None:
        self._send = send
        self._engine = engine
        self._query_id: str = ""
        self._timezone = engine.timezone
        self._tag = secrets.token_hex(8)
        self._started = False

    def note(self, parameters: Parameters) -> None:
        """Store the request's parameters for its answer: query id and time zone."""
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
                    # A value from the client must not contain a line break, which would end the header.
                    if value and value.isprintable()
                ],
            }
        )

    async def _body(self, data: bytes, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def plain(self, status: HTTPStatus, text: bytes) -> None:
        """Answer with a text of this service."""
        await self._start(
            status, {"Content-Type": "text/plain; charset=UTF-8", "Content-Length": str(len(text))}
        )
        await self._body(text, more=False)

    async def error(self, error: ClickHouseError) -> None:
        """Answer with an error. If the answer has begun already, send nothing: it stays incomplete."""
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
        """Return the block that a server (from 25.11 on) appends to a result that an error has interrupted."""
        text = error.text(self._engine.version).encode()
        tag = self._tag.encode()
        return b"\r\n__exception__\r\n%b\r\n%b%d %b\r\n__exception__\r\n" % (tag, text, len(text), tag)

    def _result_headers(self, job: Job, result: Result | None, output_format: str | None) -> dict[str, str]:
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

    async def statement(self, job: Job, work: asyncio.Future[Result]) -> None:
        """Answer a statement whose complete output is in its `Result`."""
        result = await asyncio.shield(work)
        job.release()
        named = job.statement.format if job.statement.kind is Kind.OTHER else None
        gives_result = bool(result.output) or job.statement.gives_result
        output_format = (named or job.parameters.default_format) if gives_result else None
        headers = self._result_headers(job, result, output_format)
        output = result.output
        if output and (found := encoder(job.parameters.encodings)):
            headers["Content-Encoding"], encode = found
            output = await in_thread(lambda: encode.feed(result.output) + encode.finish())
        await self._start(HTTPStatus.OK, {**headers, "Content-Length": str(len(output))})
        await self._body(output, more=False)

    async def query(self, job: Job, work: asyncio.Future[Result], source: Pipe) -> None:
        """Stream a query's result; leave the response incomplete if the query fails later.

        The first `_HELD_BACK` bytes (with wait_end_of_query=1 the whole result, with 0 nothing) are held back, so that an
        error can still be the HTTP status, and the counts can be in the headers.
        """
        output_format = job.statement.format or job.parameters.default_format
        with tempfile.SpooledTemporaryFile(max_size=4 * _HELD_BACK, dir=str(self._engine.spool)) as held:
            held_back = 1 if job.parameters.waits_for_nothing else _HELD_BACK
            size, ended = await self._hold(source, held, None if job.parameters.waits_for_end else held_back)
            result = None
            if ended:
                result = await asyncio.shield(work)
                job.release()
            headers = self._result_headers(job, result, output_format)
            encode: Encoder | None = None
            if size and (found := encoder(job.parameters.encodings)):
                headers["Content-Encoding"], encode = found
            elif ended:
                headers["Content-Length"] = str(size)
            await self._start(HTTPStatus.OK, headers)
            tail = b""
            held.seek(0)
            while piece := held.read(PIECE):
                tail = await self._pass_on(tail + piece, encode)
        broken: ClickHouseError | None = None
        if not ended:
            while piece := await source.read():
                tail = await self._pass_on(tail + piece, encode)
            try:
                await asyncio.shield(work)
            except ClickHouseError as error:
                # The engine has written the format's end mark nevertheless. Drop it: the result would look complete.
                broken = error
                tail = self._broken_off(error)
            job.release()
        if encode is not None:
            tail = encode.feed(tail) + encode.finish()
        # After an error, the last chunk is missing, so that clients see an incomplete answer.
        await self._body(tail, more=broken is not None)

    async def _hold(
        self, source: Pipe, held: tempfile.SpooledTemporaryFile[bytes], least: int | None
    ) -> tuple[int, bool]:
        """Read at least `least` bytes of the result (None: all) into `held`; return how many, and True if it has ended."""
        size = 0
        while least is None or size < least:
            piece = await source.read()
            if not piece:
                return size, True
            size += len(piece)
            if size > 4 * _HELD_BACK:
                await in_thread(held.write, piece)
            else:
                held.write(piece)
        return size, False

    async def _pass_on(self, data: bytes, encode: Encoder | None) -> bytes:
        """Send all of `data` but its tail, and return the tail."""
        body = data[:-_TAIL]
        if encode is not None:
            body = await in_thread(encode.feed, body)
        await self._body(body, more=True)
        return data[-_TAIL:]
