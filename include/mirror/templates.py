"""Renders the mirror's SQL files in `include/sql/mirror/`. Jinja fills in identifiers and expressions, never values."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from include.conventions.sql import ROOT

FOLDER = ROOT / "mirror"


@cache
def _template(name: str) -> Template:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - SQL; identifiers come quoted from `names`
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(f"{name}.sql")


def render(name: str, **values: Any) -> str:
    """Return the text of `include/sql/mirror/{name}.sql`. A missing value raises an error."""
    return _template(name).render(values)
