"""What can be wrong with any task, one class per thing that a person would mend differently. Domains add their own.

`failures` decides by `heals` how Airflow goes on.
"""

from __future__ import annotations


class TaskError(Exception):
    """Anything that a task refuses; the message names the value and what would be right.

    `heals` is whether the same may succeed when it is tried again, without anybody doing anything.
    """

    heals = False


class RequestError(TaskError):
    """The run was asked for something that makes no sense: mend its conf."""


class ConfigurationError(TaskError):
    """A connection, a setting or a folder is missing, or holds what nothing can be reached by: mend the deployment."""


class LeftoverError(TaskError):
    """What an earlier task of the run should have left is not there: clear that task."""
