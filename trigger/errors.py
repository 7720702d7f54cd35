"""The errors, with their exit codes."""

from __future__ import annotations


class TriggerError(Exception):
    """The base class. The message is one line for people; `exit_code` is the command's exit code."""

    exit_code = 5


class RequestRefused(TriggerError):
    """The request is wrong, or was refused before anything was created."""

    exit_code = 2


class NotFound(TriggerError):
    """There is no such DAG, run or backfill."""

    exit_code = 3


class NotAllowed(TriggerError):
    """The login is not valid, or the user may not do this."""

    exit_code = 4


class ApiUnavailable(TriggerError):
    """The API can't be reached, or does not work."""

    exit_code = 5


class WaitTimeout(TriggerError):
    """The wait has ended, but the run has not: it continues."""

    exit_code = 6


class Conflict(RequestRefused):
    """409: something with the same identity exists already."""


class Transient(ApiUnavailable):
    """An ApiUnavailable that may pass. `retry_after` is the pause that the server asks for, in seconds."""

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after
