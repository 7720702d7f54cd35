"""What can be wrong, one class per thing that a person would fix differently."""

from __future__ import annotations


class MirrorError(Exception):
    """Anything the mirror refuses to do; the message names the value and what would be right.

    `heals` is whether the same may succeed when it is tried again, without anybody doing anything.
    """

    heals = False


class RequestError(MirrorError):
    """The run was asked for something that makes no sense: fix the conf or the schedule."""


class ConfigurationError(MirrorError):
    """A connection is missing, or holds what no server could be reached by: fix the connection."""


class SourceError(MirrorError):
    """PostgreSQL can't give what the guarantees rest on: fix the role, the server or the connection."""


class SourceAwayError(SourceError):
    """PostgreSQL did not answer, ended a session, or had a table locked: it may be there again soon."""

    heals = True


class WarehouseError(MirrorError):
    """ClickHouse refuses: fix the server or the connection."""


class WarehouseAwayError(WarehouseError):
    """ClickHouse did not answer: it may be there again soon."""

    heals = True


class SchemaError(MirrorError):
    """A table is not what was declared, or what the warehouse agreed to: fix one of them."""


class ValueNotHeldError(MirrorError):
    """A value that the warehouse's type can't hold, named by table, column and key; nothing of its snapshot is published."""


class RefusedError(MirrorError):
    """Tables were set aside, each for its reason; all others were moved."""


class VerificationError(MirrorError):
    """What arrived is not what was read. It is not done and will be read again."""

    heals = True


class WrongError(MirrorError):
    """A comparison has found what should not have been: look for who changed it. Trying again would hide that."""


class VersionError(MirrorError):
    """The source's clock is not above the newest version in the ledger: it stepped back or failed over."""

    heals = True
