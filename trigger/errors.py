"""What can go wrong, and with which exit code the command then ends."""

from __future__ import annotations


class TriggerError(Exception):
    """What went wrong, in one line for people; `exit_code` is what the command ends with."""

    exit_code = 5


class RequestRefused(TriggerError):
    """The request is wrong, or was refused before anything was created."""

    exit_code = 2


class NotFound(TriggerError):
    """There is no such DAG, run or backfill."""

    exit_code = 3


class NotAllowed(TriggerError):
    """Who asks is not known, or may not do this."""

    exit_code = 4


class ApiUnavailable(TriggerError):
    """The API can't be reached, or what answers is not a working API."""

    exit_code = 5


class WaitTimeout(TriggerError):
    """The run has not ended in the time that was given to it; it goes on."""

    exit_code = 6


class Conflict(RequestRefused):
    """409: something with the same identity exists already."""


class Transient(ApiUnavailable):
    """An ApiUnavailable that time may heal; `retry_after` is the server's own wish, seconds."""

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after
