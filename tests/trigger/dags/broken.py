"""A DAG file that Airflow can't import."""

from __future__ import annotations

from nowhere import nothing

nothing.to_import()
