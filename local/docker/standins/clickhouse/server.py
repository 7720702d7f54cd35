"""The project's own ClickHouse service in a container: listens on all addresses, with the only user `airflow`."""

import socket
import sys

from local.servers.clickhouse import __main__ as service


def listen(port: int) -> socket.socket:
    """Replace the service's function, which listens only on loopback."""
    listener = socket.create_server(("0.0.0.0", port), backlog=1024)  # noqa: S104
    listener.set_inheritable(False)
    return listener


service._listen = listen
sys.argv[1:] = ["--data", "/var/lib/clickhouse/data", "--port", "8123", "--user", "airflow"]
sys.exit(service.main())
