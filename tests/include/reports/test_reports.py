"""Reports: what may be asked, exact files that are written whole, and a page that loads nothing."""

from __future__ import annotations

import csv
import io
import re
import typing
from datetime import UTC, date, datetime
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.automacoes.reports import generate_report
from include.conventions import csv_text
from include.reports import files
from include.reports.kinds import KINDS, Filters, parse
from include.reports.page import Report, render
from include.tarefas.errors import RequestError

COLUMNS = {
    "vendas_por_dia": ("data", "vendas", "valor_total"),
    "vendas_por_uf": ("uf", "vendas", "valor_total"),
    "produtos_mais_vendidos": ("produto_id", "produto", "quantidade", "valor_total"),
}
HOSTILE = "<script>alert(1)</script> & $x^2$ \"quoted\" 'and' {{ 7 * 7 }}"


def report(name: str, rows: list[tuple[Any, ...]], **filters: Any) -> Report:
    made = datetime(2026, 11, 21, 15, tzinfo=UTC)
    return Report(KINDS[name], parse(filters), "manual__<b>1</b>", made, COLUMNS[name], rows)


def test_the_automation_offers_every_report() -> None:
    hints = typing.get_type_hints(generate_report)
    assert set(typing.get_args(hints["report_type"])) == set(KINDS)
    assert all(kind.query for kind in KINDS.values())


def test_filters_are_read_from_json() -> None:
    found = parse({"de": "2026-01-01", "ate": "2026-01-31", "uf": "SP", "limite": 5})
    assert found == Filters(de=date(2026, 1, 1), ate=date(2026, 1, 31), uf="SP", limite=5)
    assert str(found) == "de 2026-01-01, ate 2026-01-31, uf SP, limite 5"
    assert parse({}).parameters(KINDS["vendas_por_uf"]) == {
        "de": None,
        "ate": None,
        "uf": None,
        "limite": 100,
    }


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"desde": "2026-01-01"}, r"no filter 'desde'; there are de, ate, uf, limite"),
        ({"de": "01/02/2026"}, r"filter de can't be '01/02/2026'"),
        ({"de": "2026-02-30"}, r"filter de can't be '2026-02-30'"),
        ({"de": 5}, r"filter de can't be 5"),
        ({"uf": "sp"}, r"filter uf can't be 'sp'"),
        ({"uf": "SP\n"}, r"filter uf can't be"),
        ({"uf": "' OR 1=1"}, r"filter uf can't be"),
        ({"limite": 0}, r"filter limite can't be 0"),
        ({"limite": 10_001}, r"filter limite can't be 10001"),
        ({"limite": "5"}, r"filter limite can't be '5'"),
        ({"limite": True}, r"filter limite can't be True"),
        ({"de": "2026-02-01", "ate": "2026-01-01"}, r"de 2026-02-01 is after ate 2026-01-01"),
    ],
)
def test_a_filter_that_makes_no_sense_is_named(filters: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        parse(filters)


@given(
    st.lists(
        st.tuples(
            st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0")),
            st.integers(),
            st.none()
            | st.decimals(
                places=2, allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30
            ),
        )
    )
)
def test_csv_keeps_every_cent(rows: list[tuple[str | None, int, Decimal | None]]) -> None:
    text = files.as_csv(("name", "count", "amount"), rows)
    read = list(csv.reader(io.StringIO(text, newline="")))[1:]
    back = [(name, int(count), Decimal(amount) if amount else None) for name, count, amount in read]
    shown = [f"'{name}" if (name or "").startswith(csv_text.FORMULA) else name or "" for name, _, _ in rows]
    assert back == [(name, *row[1:]) for name, row in zip(shown, rows, strict=True)]
    assert "E" not in "".join(amount for _, _, amount in read)


class Page(HTMLParser):
    """What a browser would find: the elements, the addresses that they lead to, and the table."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.addresses: list[str] = []
        self.cells: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [value or "" for name, value in attributes if name in ("src", "href", "xlink:href")]
        self.cells += [""] if tag == "td" else []

    def handle_data(self, data: str) -> None:
        if self.cells:
            self.cells[-1] += data.strip()


ROWS: dict[str, list[tuple[Any, ...]]] = {
    "vendas_por_dia": [
        (date(1960, 1, 1), 1, Decimal("0.10")),
        (date(2026, 1, 1), 2, None),
        (None, 3, Decimal("7.00")),
    ],
    "vendas_por_uf": [("SP", 12_345, Decimal("123456789012345678.90")), (None, 1, None)],
    "produtos_mais_vendidos": [
        (7, HOSTILE, 3, Decimal("1.00")),
        (8, HOSTILE, 2, Decimal("2.00")),
        (9, "", None, None),
    ],
}


@pytest.mark.parametrize("name", list(KINDS))
def test_the_page_shows_everything_and_loads_nothing(name: str) -> None:
    text = render(report(name, ROWS[name], de="2026-01-01"))
    page = Page(text)
    assert "script" not in page.tags
    assert all(address.startswith("#") for address in page.addresses)
    assert not re.search(r"@import|url\((?!#)", text)
    assert len(page.cells) == sum(map(len, ROWS[name]))
    assert "de 2026-01-01" in text
    assert "manual__&lt;b&gt;1&lt;/b&gt;" in text
    # The plot is well-formed by itself.
    drawing = ElementTree.fromstring(text[text.index("<svg") : text.index("</svg>") + 6])  # noqa: S314
    assert drawing.findall(".//{http://www.w3.org/2000/svg}path")


def test_amounts_on_the_page_are_exact() -> None:
    page = Page(render(report("vendas_por_uf", ROWS["vendas_por_uf"])))
    assert page.cells[:3] == ["SP", "12,345", "123,456,789,012,345,678.90"]
    assert page.cells[3:] == ["—", "1", "—"]


def test_a_page_without_rows_says_so_and_one_that_was_cut_too() -> None:
    assert "No sale matches these filters." in render(report("vendas_por_uf", []))
    cut = render(report("vendas_por_uf", [("SP", 1, Decimal(1))], limite=1))
    assert "ends at its limit of 1 rows" in cut


def test_the_plot_is_the_same_in_every_try() -> None:
    assert render(report("vendas_por_uf", ROWS["vendas_por_uf"])) == render(
        report("vendas_por_uf", ROWS["vendas_por_uf"])
    )


@pytest.mark.parametrize(
    "run_id", ["../../etc/passwd", "a/b", "..", ".hidden", "manual__2026-01-01T00:00:00+00:00", "é"]
)
def test_a_file_stays_in_its_folder(tmp_path: Path, run_id: str) -> None:
    target = files.path(tmp_path, "vendas_por_uf", run_id, ".csv")
    files.write(target, "x")
    assert [path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*.csv")] == ["vendas_por_uf"]
    assert target.parent == tmp_path / "vendas_por_uf"
    assert not target.name.startswith(".")


def test_a_retry_overwrites_and_a_failure_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "new" / "report.csv"
    files.write(target, "first\n")
    files.write(target, "second\n")
    assert target.read_text() == "second\n"
    assert target.stat().st_mode & 0o777 == 0o644

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write(target, "third\n")
    assert target.read_text() == "second\n"
    assert [path.name for path in target.parent.iterdir()] == ["report.csv"]
