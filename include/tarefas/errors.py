"""The errors of a call of an automation. Each class has a different fix."""

from __future__ import annotations

from include.conventions.errors import ConfigurationError, RequestError, TaskError

__all__ = ["CatalogError", "RequestError", "ResultError"]


class CatalogError(ConfigurationError):
    """The folder of automations can't be read: correct `AUTOMACOES_MODULES_PATH`, or mount the folder.

    The task is retried, because another worker may have the folder.
    """

    heals = True


class ResultError(TaskError):
    """The automation did its work, but its result can't be stored: correct what it returns.

    A retry would only do the work twice.
    """
