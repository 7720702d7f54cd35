"""One request and its answer: with retries, renewed tokens, and readable errors."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import requests
import tenacity

from trigger.address import API, DEFAULT_URL, VERSION, check_url
from trigger.answers import Bearer, is_token_refused, parse, raise_for, readable
from trigger.errors import ApiUnavailable, NotAllowed, RequestRefused, Transient, WaitTimeout
from trigger.text import one_line, root_cause
from trigger.tokens import TokenCache

Result = TypeVar("Result")

PAGE = 100  # Airflow's default maximum
OUTAGE = 300.0  # seconds for which a wait tolerates an API that is down, as in a slow restart
TRANSIENT = (429, 502, 503, 504)  # statuses of temporary errors


class Origin(NamedTuple):
    """The names, for error messages, of the settings of the address and of the trusted certificates."""

    url: str = "--url"
    ca: str = "--ca"


def _within(seconds: float, work: Callable[[], Result]) -> Result:
    """Return the result of `work`. Raises TimeoutError after `seconds`; `work` then continues in its thread.

    A DNS query has no timeout and ignores Ctrl-C, and a socket's timeout starts again with each byte.
    """
    outcome: Future[Result] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001 (raised again by the thread that waits for this one)
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return outcome.result(seconds)


def _backoff(longest: float) -> Callable[[tenacity.RetryCallState], float]:
    """Return how to wait between retries: exponentially with a random part, and at least Retry-After, up to `longest`."""
    usual = tenacity.wait_exponential(multiplier=0.2, max=4) + tenacity.wait_random(0, 0.5)

    def wait(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        wish = error.retry_after if isinstance(error, Transient) else 0.0
        return max(min(wish, longest), usual(state))

    return wait


class Wire:
    """A connection to one API server: a session, a login, and the time limit for retries.

    The first arguments are those of AirflowClient. With `attempts`, each request has this number of tries, with
    `connect_timeout` seconds for each; without it, `connect_timeout` is the limit for all tries together. `session` may be
    one that is configured for TLS or a proxy. Answers with a status in `transient` are retried. `origin` names the settings
    in error messages. Every method may raise a TriggerError.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        username: str | None = None,
        password: str | None = None,
        token: str | None = None,
        ca: str | Path | None = None,
        connect_timeout: float = 20.0,
        cache: bool = True,
        ask_password: Callable[[], str] | None = None,
        trace: Callable[[str], None] = lambda _: None,
        attempts: int | None = None,
        session: requests.Session | None = None,
        transient: Collection[int] = TRANSIENT,
        origin: Origin = Origin(),  # noqa: B008 (it can't be changed)
    ) -> None:
        self.url = check_url(url)
        self.username = username
        self._password = password
        # A token from a file may end with a line break.
        self._token = token.strip() if token is not None else None
        if self._token is not None and not re.fullmatch(r"[!-~]+", self._token):
            raise RequestRefused("the token is empty, or holds characters that no token has")
        self._own_token = token is not None
        self._ask_password = ask_password
        self._patience = connect_timeout
        self._deadline: float | None = None  # the end of a wait, by the monotonic clock
        self._trace = trace
        self._cache = TokenCache() if cache else None
        self._attempts = attempts
        self._transient = transient
        self._origin = origin
        if session is None:
            session = requests.Session()
            session.headers["User-Agent"] = f"trigger_script/{VERSION}"
        self._session = session
        # Passed with each request: REQUESTS_CA_BUNDLE would override the session's own setting.
        self._verify = None if ca is None else str(ca)
        if ca is not None and not Path(ca).is_file():
            raise RequestRefused(f"there is no file {str(ca)!r} of certificates to trust")

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def until(
        self,
        ended: Callable[[], Result | None],
        situation: Callable[[], str],
        timeout: float | None,
        interval: float,
        warn: Callable[[str], None],
    ) -> Result:
        """Call `ended` until it returns a result. Tolerates an API that is down for up to `OUTAGE` seconds."""
        start = time.monotonic()
        self._deadline = None if timeout is None else start + timeout
        answered = start
        lost = False
        try:
            while True:
                try:
                    result = ended()
                    answered = time.monotonic()
                    if lost:
                        warn("the API is back")
                    lost = False
                    if result is not None:
                        return result
                except Transient as outage:
                    if time.monotonic() - answered > OUTAGE:
                        raise
                    if not lost:
                        warn(f"{outage}; still trying")
                    lost = True
                remaining = float("inf") if self._deadline is None else self._deadline - time.monotonic()
                if remaining <= 0:
                    raise WaitTimeout(f"{situation()} after {timeout:g} s")
                time.sleep(min(interval, remaining))
        finally:
            self._deadline = None

    def pages(
        self, path: str, name: str, read: Callable[[dict[str, Any]], Result], query: Mapping[str, Any]
    ) -> Iterator[Result]:
        """Yield the entries of all pages of a list."""

        def read_page(answer: Mapping[str, Any]) -> tuple[list[Result], int]:
            return [read(entry) for entry in answer[name]], int(answer["total_entries"])

        offset = 0
        while True:
            entries, total = self.call(
                "GET", path, read_page, query={**query, "limit": PAGE, "offset": offset}
            )
            yield from entries
            # A server may return shorter pages than requested.
            offset += len(entries)
            if not entries or offset >= total:
                return

    def call(
        self,
        method: str,
        path: str,
        read: Callable[[Any], Result],
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        once: bool = False,
        root: str = API,
    ) -> Result:
        """Return the result of `read` for the answer. With `once`, a request that may have arrived is not repeated."""
        hint = f"is {self._origin.url} right?" if root == API else f"is there a service at {self.url}{root}?"
        response = self.answer(method, f"{root}{path}", query=query, body=body, once=once)
        raise_for(response, self.username, hint)
        try:
            answer = parse(response) if response.content else None
        except ValueError:
            raise ApiUnavailable(f"{self.url} answered with {readable(response)}; {hint}") from None
        try:
            return read(answer)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            what = f"{type(error).__name__}: {one_line(str(error), 100)}"
            raise ApiUnavailable(
                f"{self.url} answered {method} {path} as Airflow 3 does not ({what}); {hint}"
            ) from error

    def answer(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        once: bool = False,
    ) -> requests.Response:
        """Return the answer to a request with a token, as `send` does. `path` is the complete path."""

        def ask(token: str) -> requests.Response:
            return self.send(method, f"{self.url}{path}", query=query, body=body, token=token, once=once)

        response = ask(self.token())
        return ask(self._renew_token(response)) if is_token_refused(response) else response

    def send(
        self,
        method: str,
        url: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        token: str | None = None,
        once: bool = False,
    ) -> requests.Response:
        """Return the answer with any status, except temporary errors, which are retried. Raises ApiUnavailable."""
        patience = self._patience
        if self._deadline is not None:
            patience = max(0.1, min(patience, self._deadline - time.monotonic()))
        until = time.monotonic() + patience

        def attempt() -> requests.Response:
            began = time.monotonic()
            # At least two seconds, so that a healthy server on a busy machine can answer.
            remaining = patience if self._attempts else max(2.0, until - began)

            def ask() -> requests.Response:
                return self._session.request(
                    method,
                    url,
                    params=query,
                    json=body,
                    auth=Bearer(token),
                    headers={"Accept": "application/json"},
                    # A short timeout to connect, so that there is time to retry if packets are lost.
                    timeout=(min(5.0, remaining), remaining),
                    verify=self._verify,
                    allow_redirects=False,
                )

            try:
                response = _within(remaining, ask)
            except requests.exceptions.SSLError as error:
                raise ApiUnavailable(
                    f"{self.url} can't be trusted: {root_cause(error)}; {self._origin.ca} names the certificates to trust"
                ) from None
            except (
                requests.ConnectionError,
                requests.Timeout,
                requests.exceptions.ChunkedEncodingError,
                requests.exceptions.ContentDecodingError,
            ) as error:
                self._trace(f"{method} {url} -> {root_cause(error)}")
                raise Transient(f"{self.url} can't be reached: {root_cause(error)}") from None
            except TimeoutError:
                self._trace(f"{method} {url} -> nothing in {remaining:.1f} s")
                raise Transient(f"{self.url} has not answered in {remaining:.0f} s") from None
            except (OSError, ValueError) as error:
                raise RequestRefused(f"{self.url} can't be asked: {root_cause(error)}") from None
            self._trace(
                f"{method} {response.url} -> {response.status_code} in {time.monotonic() - began:.2f} s"
            )
            if 300 <= response.status_code < 400:
                target = response.headers.get("Location", "nowhere")
                raise ApiUnavailable(
                    f"{response.url} sends on to {target}; give the final address as {self._origin.url}"
                )
            if response.status_code in self._transient:
                wish = response.headers.get("Retry-After", "")
                raise Transient(
                    f"{self.url} answered {response.status_code}: {readable(response)}",
                    float(wish) if wish.isascii() and wish.isdigit() else 0.0,
                )
            return response

        if once:
            return attempt()
        stop = (
            tenacity.stop_after_attempt(self._attempts)
            if self._attempts
            else tenacity.stop_before_delay(patience)
        )
        return tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Transient),
            stop=stop,
            wait=_backoff(patience),
            reraise=True,
        )(attempt)

    def token(self) -> str:
        """Return the token; log in if there is none yet."""
        if self._token is None:
            cached = self._cache and self._cache.load(self.url, self.username, self._password)
            self._token = cached or self._login()
        return self._token

    def _renew_token(self, refusal: requests.Response) -> str:
        if self._own_token:
            raise NotAllowed(
                f"{self.url} refuses the token ({readable(refusal)}): give a new one, or a username and a password"
            )
        self._token = self._login()
        return self._token

    def _login(self) -> str:
        url = f"{self.url}/auth/token"
        if self.username is None:
            # Airflow's simple auth manager may be configured to make everyone an admin.
            response = self.send("GET", url)
            if response.status_code != 201:
                raise NotAllowed(
                    f"{self.url} wants to know who asks: give --username and --password, --token, or a --profile"
                )
        else:
            if self._password is None and self._ask_password is not None:
                self._password = self._ask_password()
            if self._password is None:
                raise NotAllowed(
                    f"no password for {self.username!r} at {self.url}: set AIRFLOW_PASSWORD, or use a terminal to be asked"
                )
            credentials = {"username": self.username, "password": self._password}
            response = self.send("POST", url, body=credentials)
            # The answer's text is not shown: a validation error quotes the request with the password.
            if response.status_code in (400, 401, 403, 422):
                raise NotAllowed(f"{self.url} does not know {self.username!r} with this password")
        try:
            token = parse(response)["access_token"]
        except (LookupError, TypeError, ValueError):
            token = None
        if not isinstance(token, str):
            raise ApiUnavailable(
                f"{url} answered {response.status_code} without a token; is {self.url} an Airflow 3 API server?"
            )
        if self._cache:
            self._cache.store(self.url, self.username, self._password, token)
        return token
