"""The project's own service as the server of a container: on every address of it, and with the one user `airflow`."""

import socket
import sys

from local.servers.clickhouse import __main__ as service


def listen(port: int) -> socket.socket:
    """Stand in for the one that listens on loopback alone."""
    listener = socket.create_server(("0.0.0.0", port), backlog=1024)  # noqa: S104
    listener.set_inheritable(False)
    return listener


service._listen = listen
sys.argv[1:] = ["--data", "/var/lib/clickhouse/data", "--port", "8123", "--user", "airflow"]
sys.exit(service.main())
