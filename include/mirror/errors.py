"""What can be wrong, one class per thing that a person would fix differently."""

from __future__ import annotations


class MirrorError(Exception):
    """Anything the mirror refuses to do; the message names the value and what would be right."""


class RequestError(MirrorError):
    """The run was asked for something that makes no sense: fix the conf or the schedule."""


class ConfigurationError(MirrorError):
    """A connection is missing, or holds what no server could be reached by: fix the connection."""


class SourceError(MirrorError):
    """PostgreSQL can't give what the guarantees rest on: fix the role, the server or the connection."""


class WarehouseError(MirrorError):
    """ClickHouse can't be reached: fix the server or the connection."""


class SchemaError(MirrorError):
    """A table differs from its TableSpec: fix the table or the spec. Nothing was loaded."""


class ValueNotHeldError(MirrorError):
    """A value that the warehouse's type can't hold, named by table, column and key. Nothing was published."""


class VerificationError(MirrorError):
    """What arrived is not what was read. The window is not done and will be read again."""


class VersionError(MirrorError):
    """The source's clock is not above the newest version in the ledger: it stepped back or failed over."""
