"""The mirror's own errors, beside `include/conventions/errors.py`. There is one class for each kind of repair."""

from __future__ import annotations

from include.conventions.errors import TaskError


class MirrorError(TaskError):
    """The mirror refuses to go on, because of the source, the warehouse or the declaration."""


class SourceError(MirrorError):
    """PostgreSQL can't provide what the guarantees need: fix the role, the server or the connection."""


class SourceUnavailableError(SourceError):
    """PostgreSQL did not answer, ended a session, or a table was locked: trying again may help."""

    heals = True


class NoSnapshotError(SourceUnavailableError):
    """No snapshot could be taken, mostly because somebody alters a table or waits to do so: trying again may help."""


class WarehouseError(MirrorError):
    """ClickHouse refused something: fix the server or the connection."""


class WarehouseUnavailableError(WarehouseError):
    """ClickHouse did not answer: trying again may help."""

    heals = True


class SchemaError(MirrorError):
    """A table of the source does not fit its declaration or its table in the warehouse: fix one of them."""


class ValueNotHeldError(MirrorError):
    """The warehouse's type can't hold a value, which the message names by table, column and key. The table is set aside."""


class RefusedError(MirrorError):
    """Tables were set aside, each with its reason. All others were moved."""


class RebuiltError(MirrorError):
    """A table was built anew by another run while a pass waited for its lock: the task has to look at it again."""

    heals = True


class VerificationError(MirrorError):
    """The rows that arrived differ from the rows that were read. The read is not done and will be repeated."""

    heals = True


class WrongRowsError(MirrorError):
    """A comparison has found wrong rows: look for who changed them. Trying again would hide that."""


class VersionError(MirrorError):
    """The source's clock is not after the newest version in the ledger: it was set back, or the source failed over."""

    heals = True
