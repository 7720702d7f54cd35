"""Two lines of defence: what the engine refuses below the reading of statements, and what the kernel refuses below both."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from secrets import token_urlsafe

import pytest
from clickhouse_connect.driver.client import Client

from local.servers.clickhouse import ClickHouse
from local.servers.clickhouse.allowed import constraints, fixed, is_allowed, known
from local.servers.server import free_port
from tests.local.servers.clickhouse.conftest import ROOT, Raw

pytestmark = pytest.mark.security

SETTINGS = {
    "additional_result_filter": "file('/etc/hostname') = ''",
    "additional_table_filters": "{'system.one': 'throwIf(1) = 0'}",
    "filter": "file('/etc/hostname') = ''",
    "select": "file('/etc/hostname')",
    "order": "file('/etc/hostname')",
    "format": "CSV",
    "format_template_row": "/etc/hostname",
    "format_template_resultset": "/etc/hostname",
    "format_schema": "/etc/hostname:x",
    "format_avro_schema_registry_url": "http://127.0.0.1:1/",
    "output_format_schema": "/etc/made",
    "input_format_record_errors_file_path": "/etc/made",
    "implicit_table_at_top_level": "system.users",
    "implicit_select": "1",
    "dialect": "prql",
    "enable_trino_dialect": "1",
    "allow_experimental_eval_table_function": "1",
    "allow_python_table_function": "1",
    "allow_introspection_functions": "0",
    "compatibility": "20.3",
    "url_base": "http://127.0.0.1:1/",
    "rename_files_after_processing": "x",
    "input_format_values_interpret_expressions": "0",
}


@pytest.mark.parametrize("name", sorted(SETTINGS))
@pytest.mark.security("statements", 7)
def test_a_setting_that_is_not_allowed_is_refused_on_every_way(raw: Raw, name: str) -> None:
    value = SETTINGS[name].replace("'", "\\'")
    session = token_urlsafe(6)
    for parameters, statement in (
        ({name: SETTINGS[name]}, "SELECT 1"),
        ({}, f"SELECT 1 SETTINGS {name} = '{value}'"),
        ({}, f"SELECT 1 FORMAT CSV SETTINGS max_threads = 1, `{name}` = '{value}'"),
        ({}, f"EXPLAIN SELECT 1 SETTINGS\\x0b{name}='{value}'".replace("\\x0b", "\x0b")),
        ({}, f"SET {name} = '{value}'"),
        ({"session_id": session}, f"SET max_threads = 1, {name} = '{value}'"),
        ({}, f"CREATE VIEW default.v AS SELECT 1 SETTINGS {name} = '{value}'"),
    ):
        answer = raw.request("POST", parameters, body=statement.encode())
        # The engine has a number of its own for python().
        code = answer.headers.get("x-clickhouse-exception-code")
        assert code in ("452", "392"), (statement, answer.body)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM (SELECT getSetting('url_base') SETTINGS url_base = 'http://x/')",
        "WITH a AS (SELECT getSetting('url_base') SETTINGS url_base = 'http://x/') SELECT * FROM a",
        "SELECT (SELECT getSetting('url_base') SETTINGS url_base = 'http://x/')",
        "(SELECT getSetting('url_base') SETTINGS url_base = 'http://x/') UNION ALL (SELECT '')",
    ],
)
def test_a_setting_of_a_subquery_changes_nothing(raw: Raw, statement: str) -> None:
    answer = raw.request("POST", {}, body=statement.encode())
    assert answer.status == 200
    assert b"http" not in answer.body


@pytest.mark.parametrize("setting", ["storage_policy = 'x'", "disk = 'default'"])
@pytest.mark.security("statements", 2)
def test_a_table_keeps_to_the_service_s_disk(raw: Raw, client: Client, setting: str) -> None:
    client.command("CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a")
    for statement in (
        f"CREATE TABLE u (a UInt8) ENGINE = MergeTree ORDER BY a SETTINGS {setting}",
        f"ALTER TABLE t MODIFY SETTING {setting}",
    ):
        answer = raw.request("POST", {"database": client.database}, body=statement.encode())
        assert answer.headers.get("x-clickhouse-exception-code") == "452", (statement, answer.body)


def test_what_clients_set_is_allowed(client: Client) -> None:
    """What the mirror and dbt set for a query and for a table."""
    client.command(
        "CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a SETTINGS index_granularity = 1024, "
        "non_replicated_deduplication_window = 100, min_bytes_for_wide_part = 0"
    )
    settings = {
        "mutations_sync": 2,
        "alter_sync": 2,
        "max_threads": 2,
        "insert_deduplication_token": "x",
        "date_time_overflow_behavior": "throw",
        "join_use_nulls": 1,
        "session_timezone": "America/Sao_Paulo",
        "max_table_size_to_drop": 0,
    }
    client.command("INSERT INTO t SELECT 1", settings=settings)
    assert (
        client.command("SELECT count() FROM t", settings={"do_not_merge_across_partitions_select_final": 1})
        == 1
    )


def test_no_text_is_allowed_that_nobody_has_looked_at(client: Client) -> None:
    """A type that the engine brings anew is none of those that can't name a file; so is a text."""
    for table in ("settings", "merge_tree_settings"):
        known = client.query(f"SELECT name, type, readonly FROM system.{table}").result_rows
        assert len(known) > 300
        fast = {name for name, _, is_fast in known if is_fast}
        assert fast >= {name for name, kind, _ in known if not is_allowed(name, kind)}
        # Some of a table's settings can't be changed once it is there.
        assert table == "merge_tree_settings" or fast <= {
            name for name, kind, _ in known if not is_allowed(name, kind)
        }
    assert not is_allowed("some_new_path", "String")
    assert not is_allowed("some_new_thing", "SomeNewType")


@pytest.mark.parametrize(
    "name",
    ["CSV INTO OUTFILE '/tmp/x'", "CSV SETTINGS max_threads=1", "`CSV`", "C\u00a0SV", "CSV\n", "CSV;", "1"],
)
@pytest.mark.security("statements", 2)
def test_a_format_is_one_word(raw: Raw, name: str) -> None:
    for statement in ("SELECT 1", "SHOW DATABASES"):
        answer = raw.request("POST", {"default_format": name}, body=statement.encode())
        assert (answer.status, answer.headers["x-clickhouse-exception-code"]) == (404, "73")


@pytest.mark.parametrize(
    "values",
    [
        "('a'), (`f\\x69le`('/etc/hostname'))",
        "('a'), (file /* */ ('/etc/hostname'))",
        "('a'), (file\u00a0('/etc/hostname'))",
        "('a'), (concat('b', file('/etc/hostname')))",
        "('a'), (arrayMap(file, ['/etc/hostname'])[1])",
        # More than is looked through: no expression at all.
        "('a'), " + "('" + "x" * 1000 + "'), " * 1100 + "(file('/etc/hostname'))",
        "(upper('a')), " + "('" + "x" * 1000 + "'), " * 1100 + "(concat('b', file('/etc/hostname')))",
    ],
    ids=[
        "escaped",
        "comment",
        "blank",
        "template",
        "function as an argument",
        "large",
        "large with a template",
    ],
)
@pytest.mark.parametrize("clause", ["VALUES", "FORMAT values", "FORMAT VALUES"])
@pytest.mark.security("statements")
def test_values_are_no_way_to_files(raw: Raw, client: Client, clause: str, values: str) -> None:
    client.command("CREATE TABLE t (a String) ENGINE = MergeTree ORDER BY a")
    answer = raw.request(
        "POST", {"database": client.database}, body=f"INSERT INTO t {clause} {values}".encode()
    )
    assert answer.status != 200
    assert client.command("SELECT count() FROM t") == 0


def test_values_of_any_size_and_expressions_among_few(client: Client) -> None:
    client.command("CREATE TABLE t (a String) ENGINE = MergeTree ORDER BY a")
    client.command("INSERT INTO t VALUES (upper('a')), ('file(1).txt'), (concat('São', ' Paulo'))")
    client.command("INSERT INTO t VALUES " + ", ".join(f"('row {number}')" for number in range(100_000)))
    found = client.query("SELECT count(), countIf(a = 'São Paulo'), countIf(a = 'A') FROM t").first_row
    assert found == (100_003, 1, 1)


@pytest.mark.parametrize(
    ("structure", "form", "data"),
    [
        ("a String", "Values", "(file('/etc/hostname'))"),
        ("a String", "values", "('a'), (concat('b', file('/etc/hostname')))"),
        ("a String DEFAULT file('/etc/hostname')", "JSONEachRow", "{}"),
        ("a String) ENGINE = Log AS (SELECT file('/etc/hostname')", "CSV", "1"),
        ("a String", "CSV SETTINGS max_threads = 1", "1"),
    ],
)
@pytest.mark.security("statements")
def test_a_table_in_a_form_is_no_way_to_files(raw: Raw, structure: str, form: str, data: str) -> None:
    parts = {"query": "SELECT * FROM sent", "sent_structure": structure, "sent_format": form}
    body = "".join(
        f'--edge\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in parts.items()
    )
    body += (
        f'--edge\r\nContent-Disposition: form-data; name="sent"; filename="x"\r\n\r\n{data}\r\n--edge--\r\n'
    )
    answer = raw.request("POST", {}, {"Content-Type": "multipart/form-data; boundary=edge"}, body.encode())
    assert answer.status in (400, 403, 404), answer.body


# It first writes what it was started with: chDB's library has crashed here while it was loaded, and only among all tests.
BELOW = """
import os
import sys
from pathlib import Path
from local.servers.clickhouse.reach import confine_to, take_folder
for source in ("limits", "status", "cgroup"):
    print(Path("/proc/self", source).read_text(), file=sys.stderr)
print(sorted(os.environ), os.sched_getaffinity(0), file=sys.stderr)
data = take_folder(Path(sys.argv[1]))
print(confine_to(data))
from local.servers.clickhouse.engine import Engine, ClickHouseError, chdb

print(chdb.engine_version)
engine = Engine(data)
handle = engine.handle(lasting=False)
for statement in sys.argv[2:]:
    try:
        print("done", handle.query(statement).output)
    except ClickHouseError as error:
        print("refused", "Permission denied" in error.message)
handle.close()
engine.close()
"""


@pytest.mark.security("statements", 3)
def test_the_kernel_refuses_what_no_reading_of_statements_has_refused(tmp_path: Path) -> None:
    secret, made = tmp_path / "secret", tmp_path / "made"
    secret.write_text("a secret")
    statements = [
        f"SELECT file('{secret}')",
        "SELECT file('/proc/self/environ')",
        f"SELECT 1 INTO OUTFILE '{made}'",
        "CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a",
        "INSERT INTO t SELECT 1",
        "SELECT count() FROM t",
    ]
    ended = subprocess.run(
        # If the engine crashes, its stack is in the test's output.
        [sys.executable, "-X", "faulthandler", "-c", BELOW, str(tmp_path / "data"), *statements],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    line, engine_version, *answers = ended.stdout.splitlines()
    assert engine_version == "not read", "importing chdb has opened an engine"
    assert answers[3:] == ["done b''", "done b''", "done b'1\\n'"]
    if line.startswith("NOT CONFINED: this kernel has no Landlock"):
        assert answers[0] == "done b'a secret\\n'"
        return
    assert line.startswith(f"confined to {tmp_path / 'data'} by Landlock")
    assert answers[:3] == ["refused True"] * 3
    assert not made.exists()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ClickHouse]:
    """A service whose folder an earlier version has left open to everybody."""
    (tmp_path / "data").mkdir(mode=0o755)
    with ClickHouse(tmp_path / "data", free_port(), "someone", token_urlsafe(12), tmp_path / "log") as server:
        yield server


def test_the_data_is_closed_to_other_users(server: ClickHouse) -> None:
    assert stat.S_IMODE(server.data.stat().st_mode) == 0o700
    first = server.log.read_text().splitlines()[0]
    assert first.startswith(("confined to ", "NOT CONFINED: "))


def test_a_new_folder_is_closed_from_the_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from local.servers.clickhouse.reach import take_folder

    made: list[int] = []
    monkeypatch.setattr(Path, "chmod", lambda self, _: made.append(stat.S_IMODE(os.stat(self).st_mode)))
    take_folder(tmp_path / "data")
    assert made == [0o700]


def test_what_no_client_may_change_is_known_of_this_version(client: Client) -> None:
    query, table = (
        client.query(f"SELECT name, type FROM system.{name}").result_rows
        for name in ("settings", "merge_tree_settings")
    )
    now = fixed(query, table)
    lines = "\n".join([f"chdb {version('chdb')}", *now])
    assert known(version("chdb")) == now, f"local/servers/clickhouse/fixed_settings.txt must be:\n{lines}"
    assert known("another version") is None


def test_an_engine_of_another_version_is_opened_twice_with_the_same_result(tmp_path: Path) -> None:
    start = (
        "import sys\nfrom local.servers.clickhouse import __main__, allowed\n"
        "allowed.known = lambda version: None\nsys.exit(__main__.main())"
    )

    class Unknown(ClickHouse):
        def command(self) -> list[str]:
            return [sys.executable, "-c", start, *super().command()[3:]]

    with Unknown(
        tmp_path / "data", free_port(), "u", token_urlsafe(12), tmp_path / "log", short_lived=True
    ) as server:
        users = (tmp_path / "data" / "service" / "users.xml").read_text()
        assert constraints(known(version("chdb")) or []) in users
        assert server.client().query("SELECT 1").first_row == (1,)
