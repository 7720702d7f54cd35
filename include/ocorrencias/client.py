"""Requests to the service, with their retries. No other module of the domain retries a request.

Retried: no connection, a broken or silent connection, 429, 5xx, and a body that is not JSON (a body without
Content-Length that was cut off looks like that). Everything else fails at once: 4xx with the server's message, an answer
that is too large, a redirect.

All requests of one client share one time limit. Pauses, slow bodies and `Retry-After` count towards it. After the limit,
no request begins and no body is read on. One case escapes the limit: a server that sends its headers very slowly, because
requests returns only when the headers are complete. The task's `execution_timeout` ends that.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import requests
import tenacity
import urllib3

from include.conventions.errors import ConfigurationError
from include.ocorrencias.errors import ContractError, ExhaustedError, HealingError, RefusedError
from include.ocorrencias.settings import Policy

log = logging.getLogger(__name__)

BASE = "/v2/adm_cor_comando"
CHUNK = 2**16
LONGEST_WORDS = 300
LONGEST_INTEGER = 400
NO_ADDRESS = (
    requests.exceptions.InvalidURL,
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidSchema,
    urllib3.exceptions.LocationParseError,
)


@dataclass(frozen=True)
class Answer:
    """An answer: status, complete body, and the seconds of a Retry-After header."""

    status: int
    body: bytes
    retry_after: float | None = None


class Transport(Protocol):
    """Sends one request. Raises HealingError without a complete answer, ContractError for one that is too large."""

    def get(self, path: str, params: Mapping[str, str], seconds: float) -> Answer:
        """Return the answer for `path` below BASE, within `seconds`."""


class RetryAfterError(HealingError):
    """A failure whose answer names the seconds to wait (Retry-After; 0 if it names none)."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class HttpTransport:
    """The real service, through a session of requests, which has credentials, certificates and proxies."""

    def __init__(self, session: requests.Session, url: str, policy: Policy) -> None:
        self._session = session
        self._url = url.rstrip("/")
        self._policy = policy

    def get(self, path: str, params: Mapping[str, str], seconds: float) -> Answer:
        """See Transport."""
        end = time.monotonic() + seconds
        try:
            with self._session.get(
                f"{self._url}{BASE}{path}",
                params=dict(params),
                headers={"Accept": "application/json"},
                timeout=min(self._policy.silence, seconds),
                stream=True,
                allow_redirects=False,
            ) as response:
                return Answer(response.status_code, self._read(response, end), _retry_after(response))
        except requests.exceptions.SSLError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise ConfigurationError(f"the certificate of {self._url} is not trusted: {error}") from None
            raise HealingError(f"TLS: {error}") from None
        except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError, OSError) as error:
            if isinstance(error, NO_ADDRESS):
                raise ConfigurationError(f"{self._url} is not an address: {error}") from None
            raise HealingError(f"{type(error).__name__}: {error}"[:LONGEST_WORDS]) from None

    def _read(self, response: requests.Response, end: float) -> bytes:
        """Return the body. Reads whatever has arrived: to wait for a full chunk could take longer than the limit."""
        body = bytearray()
        while piece := response.raw.read1(CHUNK, decode_content=True):
            body += piece
            if len(body) > self._policy.max_bytes:
                raise ContractError(
                    f"the answer is larger than {self._policy.max_bytes // 2**20} MB (OCORRENCIAS_MAX_MB)"
                )
            if time.monotonic() > end:
                raise HealingError(f"the answer was not complete in time; {len(body)} bytes had arrived")
        return bytes(body)


class Client:
    """Gets JSON from the service. `tries` counts the tries per path, including the successful ones."""

    def __init__(
        self,
        transport: Transport,
        policy: Policy,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.tries: Counter[str] = Counter()
        self.requests = 0
        self._transport = transport
        self._policy = policy
        self._clock = clock
        self._sleep = sleep
        self._end = clock() + policy.limit

    @property
    def retries(self) -> int:
        """Return how many tries were retries."""
        return self.tries.total() - self.requests

    def get(self, path: str, params: Mapping[str, str] | None = None) -> Any:
        """Return the parsed answer of status 200.

        Raises RefusedError (4xx), ContractError (too large, redirected), ConfigurationError (invalid address or
        certificate), and ExhaustedError when the tries or the time are used up.
        """
        self.requests += 1
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(HealingError),
            stop=self._stop,
            wait=self._wait,
            before_sleep=lambda state: log.warning("%s: %s", path, _retry_text(state)),
            sleep=self._sleep,
        )
        try:
            return retrying(self._once, path, params or {})
        except tenacity.RetryError as error:
            attempt = error.last_attempt
            raise ExhaustedError(
                f"{path} failed in all of {attempt.attempt_number} tries "
                f"(limits: {self._policy.attempts} tries, {self._policy.limit:g} s for the run); "
                f"the last: {attempt.exception()}"
            ) from None

    def _once(self, path: str, params: Mapping[str, str]) -> Any:
        left = self._end - self._clock()
        if left <= 0:
            raise HealingError(f"the {self._policy.limit:g} s of this run are used up")
        self.tries[path] += 1
        answer = self._transport.get(path, params, left)
        if answer.status == 200:
            return _parse(answer.body)
        said = f"it answered {answer.status}: {_words(answer.body)}"
        if answer.status == 429 or answer.status >= 500:
            raise RetryAfterError(said, answer.retry_after or 0.0)
        if 400 <= answer.status < 500:
            raise RefusedError(f"{path}: {said}")
        raise ContractError(f"{path}: {said}")

    def _stop(self, state: tenacity.RetryCallState) -> bool:
        return (
            state.attempt_number >= self._policy.attempts or self._clock() + state.upcoming_sleep >= self._end
        )

    def _wait(self, state: tenacity.RetryCallState) -> float:
        pause = tenacity.wait_fixed(self._policy.pause) + tenacity.wait_random(0, self._policy.jitter)
        error = state.outcome.exception() if state.outcome else None
        return max(pause(state), error.seconds if isinstance(error, RetryAfterError) else 0.0)


def _retry_text(state: tenacity.RetryCallState) -> str:
    error = state.outcome.exception() if state.outcome else None
    return f"try {state.attempt_number} failed ({error}); again in {state.upcoming_sleep:.1f} s"


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body, parse_int=_integer)
    except (ValueError, RecursionError) as error:
        raise HealingError(f"the body of {len(body)} bytes is not JSON: {error}"[:LONGEST_WORDS]) from None


def _integer(digits: str) -> int | float:
    # int() raises for thousands of digits, and json.loads would then lose all events for one event's number.
    return int(digits) if len(digits) < LONGEST_INTEGER else float(digits)


def _words(body: bytes) -> str:
    """Return the server's message of an error, on one line."""
    text = body.decode(errors="replace")
    try:
        answer = json.loads(text, parse_int=_integer)
        text = str(next(answer[key] for key in ("error", "detail", "mensagem") if answer.get(key)))
    except (ValueError, RecursionError, AttributeError, StopIteration):
        pass  # not in the contract's form: use the body itself
    # Half of a surrogate pair is valid JSON, but can't be written to a log.
    text = text.encode(errors="backslashreplace").decode()
    return " ".join(text.split())[:LONGEST_WORDS] or "(nothing)"


def _retry_after(response: requests.Response) -> float | None:
    text = response.headers.get("Retry-After", "")
    # The header may also hold a date, which would need the server's clock. The usual pause is enough then.
    return float(text) if text.isascii() and text.isdecimal() and len(text) < 6 else None
