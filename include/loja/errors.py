"""What can be wrong with the store's work, one class per thing that a person would mend differently."""

from __future__ import annotations


class StoreError(Exception):
    """Anything that is refused; the message names the value and what would be right."""


class RequestError(StoreError):
    """The run was asked for something that makes no sense: fix the conf or the setting."""


class ConfigurationError(StoreError):
    """A connection or a setting is missing, or holds what nothing could be reached by."""


class SourceError(StoreError):
    """The database can't give what the work rests on: fix the server, the user or the schema."""


class ListError(StoreError):
    """The supplier's price list as a whole can't be used: ask for a right one. Nothing was changed."""


class ComparisonError(StoreError):
    """What arrived is not what was read. The transaction was rolled back, or what is published is named."""


class OvertakenError(StoreError):
    """What was read is older than what people read already. Nothing was changed: a new run reads what is there now."""


class UnfinishedError(StoreError):
    """Something of the run is left undone: another task has failed and said why. A later run does it."""


NOT_RETRIED = (RequestError, ConfigurationError, ListError, ComparisonError, OvertakenError, UnfinishedError)
"""What no second try can mend."""
