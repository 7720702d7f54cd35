"""Addresses: the server, its two APIs, and names as parts of a path."""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit

from trigger.errors import RequestRefused

VERSION = "1.1.0"
DEFAULT_URL = "http://localhost:8080"
API = "/api/v2"
SERVICE = "/scheduler"  # the automations' service, beside Airflow's own API
AUTOMATIONS = "executar_tarefa"  # the DAG that runs them
JOBS = "agendar_jobs"  # the DAG that starts those that are due


def check_url(url: str) -> str:
    """Return the address without a trailing `/api/v2`. Raises RequestRefused if it is not an address."""
    if "@" in url:
        raise RequestRefused("the address holds a user or a password: give them as --username and --password")
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a wrong port, or brackets around something else than an IPv6 address
        good = False
    if not good or parts.query or parts.fragment or re.search(r"\s", url):
        raise RequestRefused(f"{url!r} is not the address of an API server, such as {DEFAULT_URL}")
    return url.rstrip("/").removesuffix("/api/v2").rstrip("/")


def quoted(part: str) -> str:
    quoted = quote(part, safe="", errors="surrogateescape")
    # Unquoted, these two would change the path.
    return quoted.replace(".", "%2E") if part in (".", "..") else quoted
