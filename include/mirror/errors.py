"""What only the mirror can be wrong with, beside `include/conventions/errors.py`: one class a mend."""

from __future__ import annotations

from include.conventions.errors import TaskError


class MirrorError(TaskError):
    """Anything about the two ends that the mirror refuses to do."""


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
