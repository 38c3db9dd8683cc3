"""The tutorial in the docs, done word by word: what is written there is what comes.

A block of `sh` is run, all in one shell; a `json` block after it is what it prints. There a text of
`…` stands for anything, a key or last element `…` for whatever else there is, and numbers are equal
to 5 %.
"""

import json
import math
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.system.server import Server, serving

DOCS = Path(__file__).parents[2] / "docs"
ENGLISH, CHINESE = DOCS / "tutorial.md", DOCS / "tutorial.zh.md"
BLOCK = re.compile(r"^```(sh|json)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ANYTHING = "…"
MARK = "---- what follows was printed by the next block"


@dataclass(frozen=True)
class Block:
    """A command, and what it prints where that is told."""

    command: str
    printed: str | None


def blocks(page: Path) -> list[Block]:
    found: list[Block] = []
    for language, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        if language == "sh":
            found.append(Block(text, None))
        else:
            found[-1] = Block(found[-1].command, text)
    return found


def differences(told: Any, came: Any, place: str = "") -> list[str]:
    """Return where what came is not what is told."""
    if told == ANYTHING:
        return []
    if isinstance(told, dict) and isinstance(came, dict):
        wanted = told.keys() - {ANYTHING}
        unlike = wanted ^ came.keys() if ANYTHING not in told else wanted - came.keys()
        found = [f"{place}.{name}: only in one of them" for name in sorted(unlike)]
        for name in wanted & came.keys():
            found += differences(told[name], came[name], f"{place}.{name}")
        return found
    if isinstance(told, list) and isinstance(came, list):
        if told and told[-1] == ANYTHING:
            told = told[:-1]
            came = came[: len(told)]
        if len(told) != len(came):
            return [f"{place}: {len(told)} elements told, {len(came)} came"]
        pairs = enumerate(zip(told, came, strict=True))
        return [d for i, (a, b) in pairs for d in differences(a, b, f"{place}[{i}]")]
    numbers = isinstance(told, int | float) and isinstance(came, int | float)
    if numbers and type(told) is not bool:
        is_same = math.isclose(told, came, rel_tol=0.05, abs_tol=0.02)
    else:
        is_same = bool(told == came)
    return [] if is_same else [f"{place}: {told!r} told, {came!r} came"]


def test_the_comparison_finds_what_differs() -> None:
    told = {"a": [1.0, "…"], "b": "x", "…": "…"}
    assert differences(told, {"a": [1.01, 2, 3], "b": "x", "c": 0}) == []
    assert differences(told, {"a": [1.2], "b": "y"}) != []
    assert differences({"a": 1}, {"a": 1, "b": 2}) == [".b: only in one of them"]
    assert differences([1, 2], [1]) == [": 2 elements told, 1 came"]
    assert differences({"a": True}, {"a": 1}) == []
    assert differences({"a": None}, {"a": 0.0}) != []


@pytest.fixture
def newcomer(tmp_path: Path, mnist_root: Path) -> Iterator[Server]:
    """A service that nobody has used."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "datasets").symlink_to(mnist_root)
    with serving(tmp_path / "data") as server:
        yield server


@pytest.mark.timeout(400)
def test_every_command_prints_what_the_tutorial_says(newcomer: Server, tmp_path: Path) -> None:
    told = blocks(ENGLISH)
    assert len(told) > 20
    address = newcomer.client.base_url.netloc.decode()
    script = "set -eo pipefail\n" + "\n".join(
        f"{block.command.replace('localhost:8000', address)}\necho; echo '{MARK}'" for block in told
    )
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    printed = done.stdout.split(MARK)
    for block, output in zip(told, printed, strict=False):
        if block.printed is not None:
            found = differences(json.loads(block.printed), json.loads(output))
            assert not found, f"{block.command}\nprints\n{output}\nbut {'; '.join(found)}"
    assert done.returncode == 0, f"{done.stderr}\nafter\n{done.stdout[-2000:]}"


def test_the_chinese_tutorial_has_the_same_commands() -> None:
    assert blocks(CHINESE) == blocks(ENGLISH)
