"""What only the store's work can be wrong with, beside `include/conventions/errors.py`."""

from __future__ import annotations

from include.conventions.errors import TaskError


class SourceError(TaskError):
    """The database or the supplier can't give what the work rests on now: fix the server, the user or the schema."""

    heals = True


class BrokerError(TaskError):
    """The broker refused a call that nobody expects it to refuse, or does not answer: it may be there again soon."""

    heals = True


class ListError(TaskError):
    """The supplier's price list as a whole can't be used: ask for a right one. Nothing was changed."""


class ComparisonError(TaskError):
    """What arrived is not what was read. The transaction was rolled back, or what is published is named."""


class OvertakenError(TaskError):
    """What was read is older than what people read already. Nothing was changed: a new run reads what is there now."""


class UnfinishedError(TaskError):
    """Something of the run is left undone: another task has failed and said why. A later run does it."""
