"""What can be wrong with a call of an automation, one class per thing that a person would mend differently."""

from __future__ import annotations


class AutomationError(Exception):
    """Anything that is refused here; the message names the value and what would be right."""


class RequestError(AutomationError):
    """What was asked for makes no sense: mend the call. Trying again can't help."""


class CatalogError(AutomationError):
    """The folder of automations can't be read: mend `AUTOMACOES_MODULES_PATH`, or mount the folder."""


class ResultError(AutomationError):
    """The automation did its work, but what it returned can't be kept: mend its last line.

    Trying again would only do the work twice.
    """
