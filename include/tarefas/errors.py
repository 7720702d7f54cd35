"""The errors of a call of an automation. Each class has a different fix."""

from __future__ import annotations


class AutomationError(Exception):
    """The base class of these errors. The message names the value and what would be right."""


class RequestError(AutomationError):
    """The call is wrong: correct it. A retry can't help."""


class CatalogError(AutomationError):
    """The folder of automations can't be read: correct `AUTOMACOES_MODULES_PATH`, or mount the folder."""


class ResultError(AutomationError):
    """The automation did its work, but its result can't be stored: correct what it returns.

    A retry would only do the work twice.
    """
