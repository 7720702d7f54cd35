"""The first process in the namespaces, started by `sandbox`: start the engine, then a command, and stop both."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import yaml

from local.deployment.settings import REPOSITORY
from local.docker.roots import FOLDER
from local.docker.sandbox import CGROUP, NAMESERVER

LOG = FOLDER / "dockerd.log"
PATIENCE = 60.0
# The engine gets a mount namespace with its own file system as root. A chroot is not enough: a process that is started in a
# container later (a health check, `docker exec`) would run in the machine's file system.
DOCKERD = """
cd "$0" && mkdir -p mnt && pivot_root . mnt && umount --lazy /mnt &&
    exec /usr/sbin/dockerd --config-file=/etc/docker/daemon.json
"""
# Runs a program of the engine's file system in the caller's folder.
THERE = """#!/bin/sh
exec chroot {engine} /bin/sh -c 'cd "$0" && exec "$@"' "$PWD" {program} "$@"
"""
# A wrapper of runc: lowers a container's limit of open files to the machine's own, where runc would fail.
LOWER_LIMITS = r"""#!/bin/sh
previous=
for word; do
    case $previous in
    --bundle) file=$word/config.json ;;
    --process) file=$word ;;
    *) file= ;;
    esac
    [ -z "$file" ] || perl -i -pe 's/("type":"RLIMIT_NOFILE","hard":)(\d+)(,"soft":)(\d+)/
        $1 . ($2 < {limit} ? $2 : {limit}) . $3 . ($4 < {limit} ? $4 : {limit})/xe' "$file"
    previous=$word
done
exec /usr/sbin/runc "$@"
"""


def main(engine: Path, ready: int, go: int, command: Sequence[str]) -> int:
    """Return the command's exit code."""
    os.write(ready, b"1")
    os.close(ready)
    if not os.read(go, 1):
        return 1
    mount(engine)
    environment = {**os.environ, "PATH": f"{programs(engine)}{os.pathsep}{os.environ['PATH']}"}
    # The caller's variables name another engine.
    for name in [
        name for name in environment if name.startswith(("DOCKER_", "COMPOSE_", "BUILDX_", "BUILDKIT_"))
    ]:
        del environment[name]
    with LOG.open("wb") as log:
        dockerd = subprocess.Popen(
            ["/usr/bin/env", "unshare", "--mount", "sh", "-c", DOCKERD, str(engine)],
            stdout=log,
            stderr=subprocess.STDOUT,
            # So that Ctrl-C reaches only the command.
            start_new_session=True,
        )
        try:
            wait(dockerd, environment)
            return subprocess.run(command, env=environment, check=False).returncode
        finally:
            stop(dockerd, environment)


def mount(engine: Path) -> None:
    """Mount what the engine needs: the machine's devices, the caller's files, and a folder for its images."""

    def bind(source: Path, target: Path, *options: str) -> None:
        target.mkdir(parents=True, exist_ok=True)
        subprocess.run(["/usr/bin/env", "mount", "--rbind", *options, source, target], check=True)

    # The engine unpacks images only if its root is a mount point.
    bind(engine, engine)
    # Hides the socket of the machine's own engine, which may be dead.
    subprocess.run(["/usr/bin/env", "mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    for folder in ("/run", "/proc", "/sys", "/dev", "/tmp"):  # noqa: S108
        bind(Path(folder), engine / folder[1:])
    bind(FOLDER / "data", engine / "var/lib/docker")
    # Both, because `.local` may be a link to another place.
    for kept in (REPOSITORY, FOLDER.resolve()):
        if not kept.is_relative_to("/tmp"):  # noqa: S108
            bind(kept, engine / str(kept)[1:])
    (engine / "etc/resolv.conf").unlink(missing_ok=True)
    (engine / "etc/resolv.conf").write_text(f"nameserver {NAMESERVER}\n")


def programs(engine: Path) -> Path:
    """Write the engine's configuration, and a wrapper named `docker`; return the wrapper's folder."""
    configuration = {
        "cgroup-parent": f"/{CGROUP}",
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
        "hosts": ["unix:///run/docker.sock"],
        "pidfile": "/run/docker.pid",
    }
    (engine / "usr/local/sbin/runc").unlink(missing_ok=True)
    if limit := files_limit():
        write(engine / "usr/local/sbin/runc", LOWER_LIMITS.replace("{limit}", str(limit)))
    folder = Path("/run/programs")
    folder.mkdir()
    write(folder / "docker", THERE.format(engine=engine, program="/usr/bin/docker"))
    (engine / "etc/docker").mkdir(exist_ok=True)
    (engine / "etc/docker/daemon.json").write_text(json.dumps(configuration))
    return folder


def write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def files_limit() -> int | None:
    """Return the machine's limit of open files if the deployment needs more, and print it; otherwise None."""
    import resource

    services = yaml.safe_load((REPOSITORY / "docker-compose.yaml").read_text())["services"]
    wanted = max(int(service.get("ulimits", {}).get("nofile", 0)) for service in services.values())
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, wanted))
    except (ValueError, OSError):
        print(
            f"This machine lets a container open {limit} files; docker-compose.yaml sets {wanted}.",
            flush=True,
        )
        return limit
    return None


def wait(dockerd: subprocess.Popen[bytes], environment: dict[str, str]) -> None:
    """Wait until the engine answers. Exits with the end of its log if it does not."""
    end = time.monotonic() + PATIENCE
    while dockerd.poll() is None and time.monotonic() < end:
        done = subprocess.run(
            ["/usr/bin/env", "docker", "info"], env=environment, check=False, capture_output=True
        )
        if done.returncode == 0:
            return
        time.sleep(0.5)
    sys.exit(f"the Docker Engine does not answer:\n{LOG.read_text(errors='replace')[-3000:]}")


def stop(dockerd: subprocess.Popen[bytes], environment: dict[str, str]) -> None:
    """Remove the remaining containers, and stop the engine."""

    def docker(*words: str) -> list[str]:
        done = subprocess.run(
            ["/usr/bin/env", "docker", *words], env=environment, check=False, capture_output=True, text=True
        )
        return done.stdout.split()

    if dockerd.poll() is None:
        if left := docker("ps", "--all", "--quiet"):
            docker("rm", "--force", "--volumes", *left)
        dockerd.terminate()
        try:
            dockerd.wait(60)
        except subprocess.TimeoutExpired:
            dockerd.kill()


if __name__ == "__main__":
    _, engine, ready, go, *command = sys.argv
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(Path(engine), int(ready), int(go), command))
