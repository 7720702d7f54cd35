"""The compose file as it is written, and as it is with the variables of a fresh .env."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from dotenv import dotenv_values

from local.deployment.compose import interpolate

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Compose:
    """`raw` holds the variables by name, `filled` their values; `variables` is the .env."""

    text: str
    raw: dict[str, Any]
    filled: dict[str, Any]
    variables: dict[str, str]

    @property
    def services(self) -> dict[str, Any]:
        return dict(self.filled["services"])


@pytest.fixture(scope="session")
def compose(tmp_path_factory: pytest.TempPathFactory) -> Compose:
    env = tmp_path_factory.mktemp("compose") / ".env"
    subprocess.run(["/bin/sh", ROOT / "deploy" / "write_env.sh", ROOT / ".env.example", env], check=True)
    variables = {name: value or "" for name, value in dotenv_values(env, interpolate=False).items()}
    text = (ROOT / "docker-compose.yaml").read_text()
    raw = yaml.safe_load(text)
    return Compose(text, raw, filled(raw, variables), variables)


def filled(node: Any, variables: dict[str, str]) -> Any:
    """Return the document with its variables replaced, in texts only: keys hold none."""
    if isinstance(node, dict):
        return {key: filled(value, variables) for key, value in node.items()}
    if isinstance(node, list):
        return [filled(value, variables) for value in node]
    return interpolate(node, variables) if isinstance(node, str) else node
