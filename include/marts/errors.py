"""The errors of the marts. Those that all domains share are in `include/conventions/errors.py`."""

from __future__ import annotations

from include.conventions.errors import TaskError


class DbtError(TaskError):
    """dbt could not begin: the warehouse is away, or the project is wrong. The message ends with dbt's last lines."""

    heals = True


class ModelError(TaskError):
    """Models failed; the next try goes on. The message names them, each with its reason."""

    heals = True


class TestError(TaskError):
    """All models were built, but tests of the data failed. The message names them."""

    __test__ = False
