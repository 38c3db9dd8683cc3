"""The documentation pages, and their code blocks, sections and anchors."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
README = REPOSITORY / "README.md"
ENGLISH, CHINESE = DOCS / "tutorial.md", DOCS / "tutorial.zh.md"
HOWTO = sorted((DOCS / "howto").glob("*.md"))
PAGES = [*sorted(REPOSITORY.glob("*.md")), *sorted(DOCS.rglob("*.md"))]

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A command, with its output if shown."""

    command: str
    printed: str | None


def blocks(page: Path) -> list[Block]:
    """Return the page's `sh` blocks, each with the `json` block after it."""
    found: list[Block] = []
    for language, text in FENCE.findall(page.read_text(encoding="utf-8")):
        if language == "sh":
            found.append(Block(text, None))
        elif language == "json" and found:
            found[-1] = Block(found[-1].command, text)
    return found


def prose(page: Path) -> str:
    """Return the page without its code blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def section(page: Path, heading: str) -> str:
    """Return the text under a heading, up to the next heading of any level."""
    text = prose(page)
    start = text.index(f"# {heading}\n") + len(heading) + 3
    end = text.find("\n#", start)
    return text[start:] if end < 0 else text[start:end]


def names(table: str) -> set[str]:
    """Return the names formatted as code in the first column of tables."""
    first = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    return {name for cell in first for name in re.findall(r"`([^`]+)`", cell)}


def anchors(page: Path) -> Iterator[str]:
    """Yield the anchors that GitHub gives to the page's headings."""
    seen: dict[str, int] = {}
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        count = seen[slug] = seen.get(slug, -1) + 1
        yield f"{slug}-{count}" if count else slug
