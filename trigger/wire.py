"""One request and its answer: tries again, renews tokens, and makes errors that people can read."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import requests
import tenacity

from trigger.address import API, DEFAULT_URL, VERSION, check_url
from trigger.errors import (
    ApiUnavailable,
    Conflict,
    NotAllowed,
    NotFound,
    RequestRefused,
    Transient,
    WaitTimeout,
)
from trigger.text import one_line, root_cause
from trigger.tokens import TokenCache

Result = TypeVar("Result")

PAGE = 100  # Airflow's own default for the longest page it gives


OUTAGE = 300.0  # seconds that a wait outlives an API that is down, as in a slow restart


def _within(seconds: float, work: Callable[[], Result]) -> Result:
    """Return what the work returns. Raises TimeoutError after so long, and leaves it to itself.

    Looking up a name knows no timeout and no Ctrl-C, and the timeout of a socket begins anew with each byte.
    """
    outcome: Future[Result] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001 (raised again by the thread that waits for this one)
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return outcome.result(seconds)


def _backoff(state: tenacity.RetryCallState) -> float:
    """Wait about twice as long each time, not in step with others, and as long as the server wishes."""
    error = state.outcome.exception() if state.outcome else None
    wish = error.retry_after if isinstance(error, Transient) else 0.0
    return max(wish, (tenacity.wait_exponential(multiplier=0.2, max=4) + tenacity.wait_random(0, 0.5))(state))


class _Bearer(requests.auth.AuthBase):
    """The token, or nothing at all: without an auth object requests would send what a .netrc holds."""

    def __init__(self, token: str | None) -> None:
        self.token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self.token is not None:
            request.headers["Authorization"] = f"Bearer {self.token}"
        return request


def _is_token_refused(response: requests.Response) -> bool:
    return response.status_code == 401 or (
        response.status_code == 403 and "Invalid JWT token" in _readable(response)
    )


def _raise_for(response: requests.Response, username: str | None, doubt: str) -> None:
    """Raise the TriggerError of an answer that is not a success; `doubt` asks whether it is the right address."""
    code = response.status_code
    if code < 300:
        return
    text = _readable(response)
    if code in (401, 403):
        raise NotAllowed(f"{username or 'the token'} may not do this: {code} {text}")
    if code == 405 or (code == 404 and text.startswith("a web page")):
        raise ApiUnavailable(f"{response.url} answered {code} with {text}; {doubt}")
    if code == 404:
        raise NotFound(text)
    if code == 409:
        raise Conflict(text)
    if code < 500:
        raise RequestRefused(f"the API refused the request: {text}")
    raise ApiUnavailable(f"the API failed: {code} {text}")


def _parse(response: requests.Response) -> Any:
    """Return the JSON that an answer holds. Raises ValueError."""
    try:
        return response.json()
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _readable(response: requests.Response) -> str:
    """Return what an answer says in one line, whether it is a list, a dict, a string, HTML or nothing."""
    try:
        body = _parse(response)
    except ValueError:
        # Its beginning will do, and guessing the encoding of all of it takes long.
        body = response.content[:10_000].decode(errors="replace").strip() or response.reason
        if body[:1] == "<":
            title = re.search(r"<title[^>]*>(.*?)</title>", body, re.IGNORECASE | re.DOTALL)
            body = "a web page" + (f" ({title.group(1).strip()})" if title else "")
    if isinstance(body, dict):
        body = body.get("detail") or body.get("error") or body.get("title") or body
    if isinstance(body, dict):
        body = body.get("message") or body.get("reason") or body
    if isinstance(body, list):
        body = "; ".join(_one_complaint(entry) for entry in body)
    text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    # Some servers send back what they were sent.
    if token := response.request.headers.get("Authorization", "").removeprefix("Bearer "):
        text = text.replace(token, "***")
    return one_line(text) or "nothing"


def _one_complaint(entry: Any) -> str:
    if not isinstance(entry, dict) or "msg" not in entry:
        return str(entry)
    steps = entry.get("loc")
    place = ".".join(str(step) for step in steps if step != "body") if isinstance(steps, list) else ""
    return f"{place}: {entry['msg']}" if place else str(entry["msg"])


class Wire:
    """The way to one API server: a session, who asks there, and how long a server that is down is tried.

    The arguments are those of AirflowClient. Every method raises a TriggerError.
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
    ) -> None:
        self.url = check_url(url)
        self.username = username
        self._password = password
        # A file's last line end comes along easily.
        self._token = token.strip() if token is not None else None
        if self._token is not None and not re.fullmatch(r"[!-~]+", self._token):
            raise RequestRefused("the token is empty, or holds characters that no token has")
        self._own_token = token is not None
        self._ask_password = ask_password
        self._patience = connect_timeout
        self._deadline: float | None = None  # of a wait, by the monotonic clock
        self._trace = trace
        self._cache = TokenCache() if cache else None
        self._session = requests.Session()
        # Passed with each request: requests lets REQUESTS_CA_BUNDLE win over a session's own setting.
        self._verify: bool | str = True if ca is None else str(ca)
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
        """Ask again and again until there is a result; an API that is down for a while is no reason to end."""
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
            # A server may give shorter pages than it was asked for.
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
        """Return what `read` makes of the answer; with `once`, what may have arrived is not sent again."""
        url = f"{self.url}{root}{path}"
        doubt = "is --url right?" if root == API else f"is there a service at {self.url}{root}?"
        response = self.send(method, url, query=query, body=body, token=self._get_token(), once=once)
        if _is_token_refused(response):
            token = self._renew_token(response)
            response = self.send(method, url, query=query, body=body, token=token, once=once)
        _raise_for(response, self.username, doubt)
        try:
            answer = _parse(response) if response.content else None
        except ValueError:
            raise ApiUnavailable(f"{self.url} answered with {_readable(response)}; {doubt}") from None
        try:
            return read(answer)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            what = f"{type(error).__name__}: {one_line(str(error), 100)}"
            raise ApiUnavailable(
                f"{self.url} answered {method} {path} as Airflow 3 does not ({what}); {doubt}"
            ) from error

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
        """Return the answer, whatever its status but for those that time heals. Raises ApiUnavailable."""
        patience = self._patience
        if self._deadline is not None:
            patience = max(0.1, min(patience, self._deadline - time.monotonic()))
        until = time.monotonic() + patience

        def attempt() -> requests.Response:
            began = time.monotonic()
            # Whatever is left, a healthy server on a busy machine must have the time to answer.
            remaining = max(2.0, until - began)

            def ask() -> requests.Response:
                return self._session.request(
                    method,
                    url,
                    params=query,
                    json=body,
                    auth=_Bearer(token),
                    headers={"Accept": "application/json", "User-Agent": f"trigger_script/{VERSION}"},
                    # An address that swallows packets leaves time to try it again.
                    timeout=(min(5.0, remaining), remaining),
                    verify=self._verify,
                    allow_redirects=False,
                )

            try:
                response = _within(remaining, ask)
            except requests.exceptions.SSLError as error:
                raise ApiUnavailable(
                    f"{self.url} can't be trusted: {root_cause(error)}; --ca names the certificates to trust"
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
                raise ApiUnavailable(f"{response.url} sends on to {target}; give the final address as --url")
            if response.status_code in (429, 502, 503, 504):
                wish = response.headers.get("Retry-After", "")
                raise Transient(
                    f"{self.url} answered {response.status_code}: {_readable(response)}",
                    float(wish) if wish.isascii() and wish.isdigit() else 0.0,
                )
            return response

        if once:
            return attempt()
        return tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Transient),
            stop=tenacity.stop_before_delay(patience),
            wait=_backoff,
            reraise=True,
        )(attempt)

    def _get_token(self) -> str:
        if self._token is None:
            cached = self._cache and self._cache.load(self.url, self.username, self._password)
            self._token = cached or self._login()
        return self._token

    def _renew_token(self, refusal: requests.Response) -> str:
        if self._own_token:
            raise NotAllowed(
                f"{self.url} refuses the token ({_readable(refusal)}): give a new one, or a username and a password"
            )
        self._token = self._login()
        return self._token

    def _login(self) -> str:
        url = f"{self.url}/auth/token"
        if self.username is None:
            # The Simple auth manager may be set to let in everyone as its admin.
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
            # Its text is not repeated: a validation error quotes what was sent, the password too.
            if response.status_code in (400, 401, 403, 422):
                raise NotAllowed(f"{self.url} does not know {self.username!r} with this password")
        try:
            token = _parse(response)["access_token"]
        except (LookupError, TypeError, ValueError):
            token = None
        if not isinstance(token, str):
            raise ApiUnavailable(
                f"{url} answered {response.status_code} without a token; is {self.url} an Airflow 3 API server?"
            )
        if self._cache:
            self._cache.store(self.url, self.username, self._password, token)
        return token
