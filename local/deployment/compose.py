"""Airflow's environment as docker-compose.yaml defines it, with its variables replaced as Compose does.

So the deployment in a folder and the one in containers differ only in the values that `airflow.environment` replaces.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

import yaml
from dotenv import dotenv_values

from local.deployment.settings import REPOSITORY

COMPOSE_FILE = REPOSITORY / "docker-compose.yaml"
EXAMPLE = REPOSITORY / ".env.example"
# The forms that the file uses: $$ is a dollar, ${NAME:?message} requires a value, ${NAME:-} may be empty.
VARIABLE = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<name>[A-Z_]+):(?P<form>[?-])[^}]*\})")


class ComposeError(Exception):
    """A variable of docker-compose.yaml has no value; the message names it."""


def interpolate(text: str, variables: Mapping[str, str]) -> str:
    """Return the text with its variables replaced. Raises ComposeError for a required variable without a value."""

    def value(match: re.Match[str]) -> str:
        if match["dollar"]:
            return "$"
        found = variables.get(match["name"], "")
        if match["form"] == "?" and not found:
            raise ComposeError(f"{match['name']} has no value: set it in .env.example or in the environment")
        return found

    return VARIABLE.sub(value, text)


def defaults() -> dict[str, str]:
    """Return the variables of .env.example. As with Compose, the environment overrides the file."""
    example = dotenv_values(EXAMPLE, interpolate=False)
    return {name: os.environ.get(name, value or "") for name, value in example.items()}


def airflow_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the environment that the Airflow services share. `variables` override the defaults."""
    definition = yaml.safe_load(COMPOSE_FILE.read_text())["x-airflow-environment"]
    known = {**defaults(), **variables}
    return {name: interpolate(text, known) for name, text in definition.items()}
