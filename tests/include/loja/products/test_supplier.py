"""Where the list comes from: a real HTTP server with its faults, and files."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from include.conventions import retries
from include.conventions.errors import ConfigurationError
from include.loja.errors import ListError, SourceError
from include.loja.products import supplier

pytestmark = pytest.mark.security

CONTENT = b"produto_id,preco\n1,2.50\n"


class Handler(BaseHTTPRequestHandler):
    """Answers by the path; `/busy…` is busy the first two times."""

    asked: dict[str, int] = {}  # noqa: RUF012 - a test's own
    authorization: list[str | None] = []  # noqa: RUF012

    def do_GET(self) -> None:
        path = self.path
        self.asked[path] = self.asked.get(path, 0) + 1
        self.authorization.append(self.headers.get("Authorization"))
        if path.startswith("/busy") and self.asked[path] <= 2:
            self.send_error(503)
        elif path.startswith("/none"):
            self.send_error(404)
        elif path.startswith("/elsewhere"):
            self.send_response(int(path[-3:]))
            self.send_header("Location", "/list.csv?token=s3cr3t")
            self.end_headers()
        elif path.startswith("/half"):
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT) + 10))
            self.end_headers()
            self.wfile.write(CONTENT)
        else:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(CONTENT)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    Handler.asked.clear()
    Handler.authorization.clear()
    monkeypatch.setattr(retries, "wait_random_exponential", lambda **_: lambda _: 0)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_list_over_http_with_credentials_after_a_busy_server(address: str) -> None:
    assert supplier.read(f"{address}/busy/list.csv", "", ("ana", "p")) == (CONTENT, "csv")
    assert Handler.asked == {"/busy/list.csv": 3}
    assert Handler.authorization[-1] == "Basic YW5hOnA="


def test_half_a_list_is_no_list(address: str) -> None:
    with pytest.raises(SourceError, match="gave no answer: ChunkedEncodingError"):
        supplier.read(f"{address}/half.csv", "", None)
    assert Handler.asked == {"/half.csv": 4}


def test_what_the_supplier_refuses_is_asked_for_once(address: str) -> None:
    with pytest.raises(ListError, match="answered 404; it must answer 200"):
        supplier.read(f"{address}/none.csv", "", None)
    assert Handler.asked == {"/none.csv": 1}


@pytest.mark.parametrize("place", ["half.csv", "none.csv"])
def test_what_gives_access_in_an_address_is_not_told(address: str, place: str) -> None:
    with pytest.raises((SourceError, ListError), match=f"{address}/{place}") as raised:
        supplier.read(f"{address}/{place}?token=s3cr3t#part", "", None)
    assert "s3cr3t" not in str(raised.value)
    assert supplier.shown(f"{address}/{place}?token=s3cr3t#part") == f"{address}/{place}"
    assert supplier.shown("/lists/a?b.csv") == "/lists/a?b.csv"


def test_more_than_is_taken(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supplier, "MAX_BYTES", 10)
    with pytest.raises(ListError, match="sends more than 10 bytes"):
        supplier.read(f"{address}/list.csv", "", None)
    path = tmp_path / "list.csv"
    path.write_bytes(CONTENT)
    with pytest.raises(ListError, match="has more than 10 bytes; at most that many are accepted"):
        supplier.read(str(path), "", None)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.security("payloads")
def test_a_redirect_is_not_followed(address: str, status: int) -> None:
    with pytest.raises(ListError, match=rf"elsewhere/{status} redirects to another address") as raised:
        supplier.read(f"{address}/elsewhere/{status}", "csv", ("ana", "p"))
    assert "s3cr3t" not in str(raised.value)
    assert Handler.asked == {f"/elsewhere/{status}": 1}


@pytest.mark.parametrize(
    "target", ["/proc/self/environ", "/dev/zero", "/etc/hosts", "/nowhere", "list.csv", "."]
)
@pytest.mark.security("payloads")
def test_a_link_is_not_followed(tmp_path: Path, target: str) -> None:
    link = tmp_path / "precos.csv"
    link.symlink_to(target)
    with pytest.raises(ListError, match=r"precos.csv is a symbolic link: put the list itself there"):
        supplier.read(str(link), "", None)


def test_a_folder_above_the_list_may_be_a_link_and_the_list_behind_it_may_not(tmp_path: Path) -> None:
    (tmp_path / "2026").mkdir()
    (tmp_path / "2026" / "precos.csv").write_bytes(CONTENT)
    (tmp_path / "2026" / "other.csv").symlink_to("precos.csv")
    (tmp_path / "current").symlink_to("2026")
    assert supplier.read(str(tmp_path / "current" / "precos.csv"), "", None) == (CONTENT, "csv")
    with pytest.raises(ListError, match=r"other.csv is a symbolic link"):
        supplier.read(str(tmp_path / "current" / "other.csv"), "", None)


@pytest.mark.security("payloads", 3)
def test_only_a_regular_file_is_read(tmp_path: Path) -> None:
    pipe = tmp_path / "precos.csv"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero"), tmp_path):
        with pytest.raises((ListError, SourceError), match=r"is no regular file|Is a directory"):
            supplier.read(str(path), "csv", None)


def test_a_file_that_grows_while_it_is_read_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of /proc has the size 0."""
    monkeypatch.setattr(supplier, "MAX_BYTES", 10)
    with pytest.raises(ListError, match="has more than 10 bytes"):
        supplier.read("/proc/self/maps", "csv", None)


def test_a_file_by_its_name_or_by_the_setting(tmp_path: Path) -> None:
    path = tmp_path / "list.JSON"
    path.write_bytes(b"[]")
    assert supplier.read(str(path), "", None) == (b"[]", "json")
    assert supplier.read(str(path), "csv", None) == (b"[]", "csv")
    with pytest.raises(SourceError, match=r"other.csv can't be read: No such file"):
        supplier.read(str(tmp_path / "other.csv"), "", None)


@pytest.mark.parametrize(
    ("origin", "reason"),
    [
        ("", "LOJA_PRECOS_ORIGEM is empty"),
        ("list.csv", "must be an http"),
        ("ftp://host/list.csv", "must be an http"),
        ("http:///list.csv", "must be an http"),
        ("http://[::1/list.csv", "must be an http"),
        ("https://ana:secret@host/list.csv", "contains a login"),
    ],
)
def test_origins_that_make_no_sense(origin: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason) as raised:
        supplier.read(origin, "", None)
    assert "secret" not in str(raised.value)


def test_a_name_that_says_neither_form(tmp_path: Path) -> None:
    path = tmp_path / "list.xls"
    path.write_bytes(b"")
    with pytest.raises(ConfigurationError, match=r"ends neither in .csv nor in .json"):
        supplier.read(str(path), "", None)
