"""Interpret answers: retry with a new token, raise the right error, extract the message."""

from __future__ import annotations

import json
import re
from typing import Any

import requests

from trigger.errors import ApiUnavailable, Conflict, NotAllowed, NotFound, RequestRefused
from trigger.text import one_line


class Bearer(requests.auth.AuthBase):
    """Sends the token, or no credentials: without an auth object, requests would send those of a .netrc file."""

    def __init__(self, token: str | None) -> None:
        self.token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self.token is not None:
            request.headers["Authorization"] = f"Bearer {self.token}"
        return request


def is_token_refused(response: requests.Response) -> bool:
    """Return whether the request may succeed with a new token."""
    return response.status_code == 401 or (
        response.status_code == 403 and "Invalid JWT token" in readable(response)
    )


def raise_for(response: requests.Response, username: str | None, hint: str) -> None:
    """Raise the TriggerError for an answer that is not a success. `hint` is a question about the address, for messages."""
    code = response.status_code
    if code < 300:
        return
    text = readable(response)
    if code in (401, 403):
        raise NotAllowed(f"{username or 'the token'} may not do this: {code} {text}")
    if code == 405 or (code == 404 and text.startswith("a web page")):
        raise ApiUnavailable(f"{response.url} answered {code} with {text}; {hint}")
    if code == 404:
        raise NotFound(text)
    if code == 409:
        raise Conflict(text)
    if code < 500:
        raise RequestRefused(f"the API refused the request: {text}")
    raise ApiUnavailable(f"the API failed: {code} {text}")


def parse(response: requests.Response) -> Any:
    """Return an answer's JSON. Raises ValueError if it is not JSON."""
    try:
        return response.json()
    except RecursionError:
        raise ValueError("nested too deeply") from None


def readable(response: requests.Response) -> str:
    """Return an answer's message on one line. The body may be a list, a dict, a string, HTML or empty."""
    try:
        body = parse(response)
    except ValueError:
        # Only its beginning, decoded without guessing the encoding, which is slow.
        body = response.content[:10_000].decode(errors="replace").strip() or response.reason
        if body[:1] == "<":
            title = re.search(r"<title[^>]*>(.*?)</title>", body, re.IGNORECASE | re.DOTALL)
            body = "a web page" + (f" ({title.group(1).strip()})" if title else "")
    if isinstance(body, dict):
        body = body.get("detail") or body.get("error") or body.get("title") or body
    if isinstance(body, dict):
        body = body.get("message") or body.get("reason") or body
    if isinstance(body, list):
        body = "; ".join(_one_problem(entry) for entry in body)
    text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    # Some servers repeat the request in their answer.
    if token := response.request.headers.get("Authorization", "").removeprefix("Bearer "):
        text = text.replace(token, "***")
    return one_line(text) or "nothing"


def _one_problem(entry: Any) -> str:
    if not isinstance(entry, dict) or "msg" not in entry:
        return str(entry)
    steps = entry.get("loc")
    place = ".".join(str(step) for step in steps if step != "body") if isinstance(steps, list) else ""
    return f"{place}: {entry['msg']}" if place else str(entry["msg"])
