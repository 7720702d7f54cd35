"""What can be wrong, one class per thing that somebody would mend differently."""

from __future__ import annotations


class IncidentsError(Exception):
    """Anything the collection refuses to do; the message names the value and what would be right."""


class RequestError(IncidentsError):
    """The run was asked for something that makes no sense: mend its conf."""


class SettingError(IncidentsError):
    """A connection, a folder or a recording is not as it must be: mend the deployment."""


class HealingError(IncidentsError):
    """The service, or the way to it, failed in a manner that may pass within seconds: connection, 429, 5xx."""


class ExhaustedError(IncidentsError):
    """What may heal did not heal within the tries or the time of this run; the next one comes by itself."""


class RefusedError(IncidentsError):
    """The service answered 4xx. The message holds its words."""


class ContractError(IncidentsError):
    """The answer arrived, and is not what the contract says: field and event are named."""


class StaleError(IncidentsError):
    """The service gave what it had kept from earlier instead of the present, and said so."""


class CsvError(IncidentsError):
    """The CSV file is not one that these lines may be appended to. Nothing was written."""


class DiskError(IncidentsError):
    """The CSV file could not be written for a reason that may pass: a full disk, a file system that went away."""


class BusyError(IncidentsError):
    """Another process holds the CSV file's lock; a retry may find it free."""
