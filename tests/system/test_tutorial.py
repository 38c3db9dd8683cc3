"""The commands in the docs, run verbatim and compared with the output that the pages show.

The pages share one service, as they do for a reader: the state one leaves behind must not change
the output of another. A page's `sh` blocks run in one shell; a `json` block after one is its
output, in which a string `…` matches anything, a key or last element `…` matches the rest, and
numbers are rounded to the digits shown.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.docs.pages import CHINESE, DOCS, ENGLISH, HOWTO, README, Block, blocks, section
from tests.system.server import Server, serving

ANYTHING = "…"
MARK = "---- what follows was printed by the next block"
PAGES = [README, *(page for page in HOWTO if blocks(page)), ENGLISH, CHINESE]
METRICS = DOCS / "reference" / "metrics.md"


def parsed(text: str) -> Any:
    """Return a JSON document whose numbers keep the digits they are written with."""
    return json.loads(text, parse_float=Decimal)


def is_rounded(shown: Decimal, came: Decimal | int) -> bool:
    """Tell whether a number, rounded to the digits that are shown, is the one that is shown."""
    exponent = shown.as_tuple().exponent
    assert isinstance(exponent, int)
    return abs(came - shown) <= Decimal(5).scaleb(exponent - 1)


def differences(shown: Any, came: Any, place: str = "") -> list[str]:
    """Return where what came is not what is shown."""
    if shown == ANYTHING:
        return []
    if isinstance(shown, dict) and isinstance(came, dict):
        wanted = shown.keys() - {ANYTHING}
        unlike = wanted ^ came.keys() if ANYTHING not in shown else wanted - came.keys()
        found = [f"{place}.{name}: only in one of them" for name in sorted(unlike)]
        for name in wanted & came.keys():
            found += differences(shown[name], came[name], f"{place}.{name}")
        return found
    if isinstance(shown, list) and isinstance(came, list):
        if shown and shown[-1] == ANYTHING:
            shown = shown[:-1]
            came = came[: len(shown)]
        if len(shown) != len(came):
            return [f"{place}: {len(shown)} elements shown, {len(came)} came"]
        pairs = enumerate(zip(shown, came, strict=True))
        return [d for i, (a, b) in pairs for d in differences(a, b, f"{place}[{i}]")]
    if isinstance(shown, Decimal) and isinstance(came, Decimal | int):
        is_same = is_rounded(shown, came)
    else:
        is_same = bool(shown == came)
    return [] if is_same else [f"{place}: {shown!s} shown, {came!s} came"]


def test_comparison_finds_differences() -> None:
    shown = parsed('{"a": [1.0, "…"], "b": "x", "…": "…"}')
    assert differences(shown, parsed('{"a": [1.04, 2, 3], "b": "x", "c": 0}')) == []
    assert differences(shown, parsed('{"a": [1.06], "b": "y"}')) != []
    assert differences({"a": 1}, {"a": 1, "b": 2}) == [".b: only in one of them"]
    assert differences([1, 2], [1]) == [": 2 elements shown, 1 came"]
    assert differences({"a": True}, {"a": 1}) == []
    assert differences({"a": None}, parsed('{"a": 0.0}')) != []
    assert differences(1, 2) != []


@pytest.mark.parametrize(
    ("shown", "came", "is_same"),
    [
        ("0.986", "0.9862", True),
        ("0.9859", "0.9862", False),
        ("0.001938", "0.005602", False),
        ("0.0000", "-5.835e-06", True),
        ("1.151e-08", "1.1514e-08", True),
        ("1.151e-08", "1.16e-08", False),
        ("41.0", "41", True),
    ],
)
def test_numbers_are_compared_to_the_shown_digits(shown: str, came: str, is_same: bool) -> None:
    assert (differences(parsed(shown), parsed(came)) == []) is is_same


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory, mnist_root: Path) -> Iterator[Server]:
    """A service that nobody has used before the first page."""
    data = tmp_path_factory.mktemp("newcomer")
    (data / "datasets").symlink_to(mnist_root)
    with serving(data) as server:
        yield server


@pytest.mark.timeout(400)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_print_the_shown_output(page: Path, newcomer: Server, tmp_path: Path) -> None:
    shown = blocks(page)
    done = run(shown, newcomer, tmp_path)
    for block, output in zip(shown, done.stdout.split(MARK), strict=False):
        if block.printed is not None:
            found = differences(parsed(block.printed), parsed(output))
            assert not found, f"{block.command}\nprints\n{output}\nbut {'; '.join(found)}"
    assert done.returncode == 0, f"{done.stderr}\nafter\n{done.stdout[-2000:]}"


def run(shown: list[Block], server: Server, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run the commands in one shell, as they stand but for the address and the interpreter."""
    commands = (block.command for block in shown)
    script = "set -eo pipefail\n" + "".join(f"{c}\necho; echo '{MARK}'\n" for c in commands)
    address = server.client.base_url.netloc.decode()
    script = script.replace("localhost:8000", address).replace(".venv/bin/python", sys.executable)
    return subprocess.run(
        ["bash", "-c", script], cwd=folder, capture_output=True, text=True, check=False
    )


def test_chinese_tutorial_has_the_same_commands() -> None:
    assert blocks(CHINESE) == blocks(ENGLISH)
    assert len(blocks(ENGLISH)) > 20


def test_metrics_match_the_reference(newcomer: Server) -> None:
    """After the pages, so that there are samples with labels."""
    shown = {}
    for row in section(METRICS, "Metrics").splitlines():
        if row.startswith("| `"):
            name, kind, labels = (cell.strip() for cell in row.split("|")[1:4])
            shown[name.strip("`")] = kind, {label.strip(" `") for label in labels.split(",")} - {""}
    answer = newcomer.client.get("/metrics").text
    came = {
        family.name + ("_total" if family.type == "counter" else ""): family
        for family in text_string_to_metric_families(answer)
        if not family.name.endswith("_created")
    }
    assert shown.keys() == came.keys()
    for name, family in came.items():
        kind, labels = shown[name]
        assert family.type == kind, name
        for sample in family.samples:
            assert sample.labels.keys() - {"le"} == labels, name
