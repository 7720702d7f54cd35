"""The errors of the store's tasks. Those that all domains share are in `include/conventions/errors.py`."""

from __future__ import annotations

from include.conventions.errors import TaskError


class SourceError(TaskError):
    """The database or the supplier can't deliver the data now: fix the server, the user or the schema."""

    heals = True


class BrokerError(TaskError):
    """The broker does not answer, or refused a call unexpectedly. It may work again soon."""

    heals = True


class ListError(TaskError):
    """The supplier's price list can't be used at all: ask the supplier for a correct one. Nothing was changed."""


class ComparisonError(TaskError):
    """The loaded rows differ from the rows that were read.

    Raised before the commit, it rolls the transaction back. Raised later, its message names the published table.
    """


class OvertakenError(TaskError):
    """The extract is older than the published data. Nothing was changed: a new run reads the present state."""


class UnfinishedError(TaskError):
    """Part of the run's work is not done: another task has failed, and its log has the reason. A later run does it."""
