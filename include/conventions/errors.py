"""The errors of all domains' tasks: one class for each thing that a person would repair differently. Domains add their own.

`failures` decides by `heals` whether Airflow tries again.
"""

from __future__ import annotations


class TaskError(Exception):
    """An error that the project raises. The message names the wrong value and what would be right.

    `heals` is True if trying again may succeed without a person doing anything.
    """

    heals = False


class RequestError(TaskError):
    """The run's conf is wrong: correct it."""


class ConfigurationError(TaskError):
    """A connection, a setting or a folder is missing or unusable: correct the deployment."""


class LeftoverError(TaskError):
    """The result of an earlier task of the run is missing: clear that task."""
