"""What an answer means, and what it says: the token that a request shows, the error that a refusal is."""

from __future__ import annotations

import json
import re
from typing import Any

import requests

from trigger.errors import ApiUnavailable, Conflict, NotAllowed, NotFound, RequestRefused
from trigger.text import one_line


class Bearer(requests.auth.AuthBase):
    """The token, or nothing at all: without an auth object requests would send what a .netrc holds."""

    def __init__(self, token: str | None) -> None:
        self.token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self.token is not None:
            request.headers["Authorization"] = f"Bearer {self.token}"
        return request


def is_token_refused(response: requests.Response) -> bool:
    """Return whether a new token may be met with another answer."""
    return response.status_code == 401 or (
        response.status_code == 403 and "Invalid JWT token" in readable(response)
    )


def raise_for(response: requests.Response, username: str | None, doubt: str) -> None:
    """Raise the TriggerError of an answer that is not a success; `doubt` asks whether it is the right address."""
    code = response.status_code
    if code < 300:
        return
    text = readable(response)
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


def parse(response: requests.Response) -> Any:
    """Return the JSON that an answer holds. Raises ValueError."""
    try:
        return response.json()
    except RecursionError:
        raise ValueError("nested too deeply") from None


def readable(response: requests.Response) -> str:
    """Return what an answer says in one line, whether it is a list, a dict, a string, HTML or nothing."""
    try:
        body = parse(response)
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
