"""The errors of the collection. Those that all domains share are in `include/conventions/errors.py`."""

from __future__ import annotations

from include.conventions.errors import TaskError


class HealingError(TaskError):
    """The service or the network failed in a way that may pass within seconds: connection, 429, 5xx."""


class ExhaustedError(TaskError):
    """A request failed in all tries, or until this run's time was over. The next run comes by itself."""


class RefusedError(TaskError):
    """The service answered 4xx. The message contains the service's own message."""


class ContractError(TaskError):
    """The answer breaks the contract. The message names field and event."""


class StaleError(TaskError):
    """The service answered with cached events instead of the present ones, and marked them as stale."""


class CsvError(TaskError):
    """The lines can't be added to the CSV file until a person acts. Nothing was written."""


class DiskError(TaskError):
    """The CSV file could not be written for a reason that may pass: a full disk, a lost mount."""

    heals = True


class BusyError(TaskError):
    """Another process holds the CSV file's lock. It may be free at a retry."""

    heals = True
