"""Links within the repository resolve, and every file named in the docs exists."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, PAGES, README, REPOSITORY, anchors, prose

LINK = re.compile(r"\]\(([^)\s]+)\)")
FILE = re.compile(r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|md|toml|txt))`")
ROOTS = (REPOSITORY, REPOSITORY / "service", REPOSITORY / "ml")


def by_name(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_every_link_and_anchor_resolves(page: Path) -> None:
    for link in LINK.findall(prose(page)):
        path, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.is_file(), f"{link}: no such file"
        assert not anchor or anchor in anchors(target), f"{link}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_every_named_file_exists(page: Path) -> None:
    missing = [
        name for name in FILE.findall(prose(page)) if not any((r / name).exists() for r in ROOTS)
    ]
    assert not missing


def test_every_page_named_in_code_exists() -> None:
    code = [
        p for folder in ("service", "ml", "benchmarks") for p in (REPOSITORY / folder).rglob("*.py")
    ]
    named = {name for p in code for name in re.findall(r"docs/[\w./-]+\.md", p.read_text("utf-8"))}
    assert [name for name in sorted(named) if not (REPOSITORY / name).is_file()] == []


def test_every_page_is_reachable_from_the_readme() -> None:
    reached, waiting = set[Path](), [README]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        links = [link.partition("#")[0] for link in LINK.findall(prose(page))]
        targets = {(page.parent / link).resolve() for link in links if link.endswith(".md")}
        waiting += targets - reached
    assert {*DOCS.rglob("*.md")} <= reached


def test_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 130
