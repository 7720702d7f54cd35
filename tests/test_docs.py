"""The documentation: its links lead somewhere, what it names exists, and no translation has fallen behind."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^(`{3,})[^`]*?\n.*?^\1$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub generates them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", BLOCK.sub("", page.read_text()), re.MULTILINE):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        found.add(
            next(
                f"{name}{end}"
                for end in ("", *(f"-{n}" for n in range(1, 99)))
                if f"{name}{end}" not in found
            )
        )
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    lost = []
    for target in re.findall(r"\]\(([^)\s]+)\)", CODE.sub("", BLOCK.sub("", page.read_text()))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            lost.append(target)
    assert lost == []


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f"({page.name})" not in index] == [
        "README.md"
    ]


TRANSLATED = sorted((ROOT / "docs" / "pt-BR").glob("*.md"))


def sections(text: str) -> list[tuple[str, str]]:
    """Return the heading and the text of each section of a page, without those in blocks of code."""
    hidden = BLOCK.sub(lambda block: re.sub(r"[^\n]", "-", block.group()), text)
    starts = [found.start() for found in re.finditer(r"^#+ ", hidden, re.MULTILINE)]
    parts = [text[start:end].strip() for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]
    return [(part.splitlines()[0], part) for part in parts]


def of(name: str, text: str) -> str:
    """Return the first line of a translation: the English page, and a hash of each section that was translated."""
    hashes = [hashlib.sha256(part.encode()).hexdigest()[:8] for _, part in sections(text)]
    return f"<!-- docs/{name}: {' '.join(hashes)} -->"


def behind(name: str, english: str, translation: str) -> list[str]:
    """Return the headings of the English sections that are not those which were translated."""
    noted = translation.splitlines()[0].removesuffix(" -->").split()[2:]
    now = of(name, english).removesuffix(" -->").split()[2:]
    if len(noted) != len(now):
        return [f"{len(noted)} sections were translated, and there are {len(now)}"]
    return [
        heading for (heading, _), old, new in zip(sections(english), noted, now, strict=True) if old != new
    ]


@pytest.mark.parametrize("page", TRANSLATED, ids=lambda page: page.name)
def test_no_translation_has_fallen_behind(page: Path) -> None:
    english, translation = (file.read_text() for file in (ROOT / "docs" / page.name, page))
    late = behind(page.name, english, translation)
    line = of(page.name, english)
    assert late == [], f"translate these sections of docs/{page.name}, then write as the first line: {line}"
    assert len(sections(translation)) == len(sections(english))
    assert [heading.split()[0] for heading, _ in sections(translation)] == [
        heading.split()[0] for heading, _ in sections(english)
    ]


def test_a_translation_that_fell_behind_is_found_by_its_section() -> None:
    english = "# A\n\nOne.\n\n## B\n\n```sh\n# no heading\n```\n"
    translation = of("a.md", english) + "\n# A\n\nUm.\n\n## B\n"
    assert behind("a.md", english, translation) == []
    assert behind("a.md", english.replace("no heading", "other"), translation) == ["## B"]
    assert behind("a.md", english + "\n## C\n", translation) == [
        "2 sections were translated, and there are 3"
    ]


def test_every_translation_is_linked_and_leads_to_the_english_page() -> None:
    for index, path in (("README.pt-BR.md", "docs/pt-BR"), ("docs/README.md", "pt-BR")):
        text = (ROOT / index).read_text()
        assert [page.name for page in TRANSLATED if f"({path}/{page.name})" not in text] == [], index
    assert [page.name for page in TRANSLATED if f"(../{page.name})" not in page.read_text()] == []


def named_tests(text: str) -> list[tuple[str, str]]:
    """Return the tests that a page names, each with its file.

    A test is named as `file.py::test_name`, or as `::test_name` if the paragraph has named its file before; an empty file
    stands for any.
    """
    found = []
    for paragraph in text.split("\n\n"):
        file = ""
        for name, of_file, of_any in re.findall(
            r"([\w/]*\btest_\w+\.py)|::(test_\w+)|`(test_\w+)(?=[`\[])", paragraph
        ):
            file = name or file
            if of_file or of_any:
                found.append((file if of_file else "", of_file or of_any))
    return found


def test_every_test_that_a_page_names_exists() -> None:
    tests = {
        f"/{file.relative_to(ROOT)}": re.findall(r"def (test_\w+)", file.read_text())
        for file in (ROOT / "tests").rglob("*.py")
    }
    lost = [
        f"{page.name}: {file}::{name}"
        for page in PAGES
        for file, name in named_tests(page.read_text())
        if not any(
            name in names for path, names in tests.items() if path.endswith(f"/{file}" if file else "")
        )
    ]
    assert lost == []


def test_every_file_and_target_that_a_page_names_exists() -> None:
    made_by_readers = {"dags/northwind/etl_northwind.py"}
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and path.name[0] not in "._"} - {"dist"}
    named = re.compile(rf"`((?:{'|'.join(sorted(folders))})/[\w./-]*)`")
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    lost = []
    for page in PAGES:
        text = page.read_text()
        lost += [
            f"{page.name}: {path}"
            for path in named.findall(text)
            if path not in made_by_readers and not (ROOT / path).exists()
        ]
        lost += [
            f"{page.name}: make {target}"
            for target in re.findall(r"`make (?:[A-Z_]+=\S+ )*([a-z-]+)", text)
            if target not in targets
        ]
    assert lost == []


def test_every_setting_that_a_page_names_exists() -> None:
    own = re.compile(
        r"\b(?:ETL_VENDAS|FONTE_VENDAS|MARTS|OCORRENCIAS|LOJA|AUTOMACOES|AGENDAR_JOBS|ALERTAS)_[A-Z_]+\b"
    )
    sources = ("docs/settings.md", ".env.example", "docker-compose.yaml", "Makefile")
    known = set(
        own.findall("\n".join((ROOT / name).read_text() for name in sources).replace("{NAME}", "VENDAS"))
    )
    assert {
        (page.name, name) for page in PAGES for name in own.findall(page.read_text()) if name not in known
    } == set()
