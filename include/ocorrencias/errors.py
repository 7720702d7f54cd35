"""What only the collection can be wrong with, beside `include/conventions/errors.py`."""

from __future__ import annotations

from include.conventions.errors import TaskError


class HealingError(TaskError):
    """The service, or the way to it, failed in a manner that may pass within seconds: connection, 429, 5xx."""


class ExhaustedError(TaskError):
    """What may heal did not heal within the tries or the time of this run; the next one comes by itself."""


class RefusedError(TaskError):
    """The service answered 4xx. The message holds its words."""


class ContractError(TaskError):
    """The answer arrived, and is not what the contract says: field and event are named."""


class StaleError(TaskError):
    """The service gave what it had kept from earlier instead of the present, and said so."""


class CsvError(TaskError):
    """The CSV file is not one that these lines may be appended to. Nothing was written."""


class DiskError(TaskError):
    """The CSV file could not be written for a reason that may pass: a full disk, a file system that went away."""

    heals = True


class BusyError(TaskError):
    """Another process holds the CSV file's lock; a retry may find it free."""

    heals = True
