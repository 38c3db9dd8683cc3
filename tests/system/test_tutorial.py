"""The commands in the docs, run verbatim and compared with the output that the pages show.

The pages share one service, as they do for a reader: the state one leaves behind must not change
the output of another. A page's `sh` blocks run in one shell; a `json` block after one is its
output, in which a string `…` matches anything, a key or last element `…` matches the rest, and
numbers are rounded to the digits shown.
"""

import json
import os
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
PAGES = [README, *(page for page in HOWTO if blocks(page)), ENGLISH]
"""The Chinese tutorial has the blocks of the English one, as a test below asserts."""
METRICS = DOCS / "reference" / "metrics.md"


def parsed(text: str) -> Any:
    """Return a JSON document whose numbers keep the digits they are written with."""
    return json.loads(text, parse_float=Decimal)


def is_rounded(shown: Decimal, printed: Decimal | int) -> bool:
    """Return whether `printed`, rounded to the digits of `shown`, equals it."""
    exponent = shown.as_tuple().exponent
    assert isinstance(exponent, int)
    return abs(printed - shown) <= Decimal(5).scaleb(exponent - 1)


def differences(shown: Any, printed: Any, place: str = "") -> list[str]:
    """Return the places where the output differs from the shown output."""
    if shown == ANYTHING:
        return []
    if isinstance(shown, dict) and isinstance(printed, dict):
        expected = shown.keys() - {ANYTHING}
        missing = expected ^ printed.keys() if ANYTHING not in shown else expected - printed.keys()
        found = [f"{place}.{name}: only in one of them" for name in sorted(missing)]
        for name in expected & printed.keys():
            found += differences(shown[name], printed[name], f"{place}.{name}")
        return found
    if isinstance(shown, list) and isinstance(printed, list):
        if shown and shown[-1] == ANYTHING:
            shown = shown[:-1]
            printed = printed[: len(shown)]
        if len(shown) != len(printed):
            return [f"{place}: {len(shown)} elements shown, {len(printed)} printed"]
        pairs = enumerate(zip(shown, printed, strict=True))
        return [d for i, (a, b) in pairs for d in differences(a, b, f"{place}[{i}]")]
    if isinstance(shown, Decimal) and isinstance(printed, Decimal | int):
        is_same = is_rounded(shown, printed)
    else:
        is_same = bool(shown == printed)
    return [] if is_same else [f"{place}: {shown!s} shown, {printed!s} printed"]


def test_comparison_finds_differences() -> None:
    shown = parsed('{"a": [1.0, "…"], "b": "x", "…": "…"}')
    assert differences(shown, parsed('{"a": [1.04, 2, 3], "b": "x", "c": 0}')) == []
    assert differences(shown, parsed('{"a": [1.06], "b": "y"}')) != []
    assert differences({"a": 1}, {"a": 1, "b": 2}) == [".b: only in one of them"]
    assert differences([1, 2], [1]) == [": 2 elements shown, 1 printed"]
    assert differences({"a": True}, {"a": 1}) == []
    assert differences({"a": None}, parsed('{"a": 0.0}')) != []
    assert differences(1, 2) != []


@pytest.mark.parametrize(
    ("shown", "printed", "is_same"),
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
def test_numbers_are_compared_to_the_shown_digits(shown: str, printed: str, is_same: bool) -> None:
    assert (differences(parsed(shown), parsed(printed)) == []) is is_same


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, mnist_root: Path) -> Path:
    directory = tmp_path_factory.mktemp("docs")
    (directory / "datasets").symlink_to(mnist_root)
    return directory


@pytest.fixture(scope="module")
def fresh_service(data: Path) -> Iterator[Server]:
    """A service unused before the first page."""
    with serving(data) as server:
        yield server


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_print_the_shown_output(
    page: Path, fresh_service: Server, data: Path, tmp_path: Path
) -> None:
    shown = blocks(page)
    done = run(shown, fresh_service, data, tmp_path)
    outputs = zip(shown, done.stdout.split(MARK), strict=False)
    faults = [
        f"{block.command}\nprints\n{output}\nbut {'; '.join(found)}"
        for block, output in outputs
        if block.printed is not None
        and (found := differences(parsed(block.printed), parsed(output)))
    ]
    assert not faults, "\n\n".join(faults)
    assert done.returncode == 0, f"{done.stderr}\nafter\n{done.stdout[-2000:]}"


def run(
    shown: list[Block], server: Server, data: Path, folder: Path
) -> "subprocess.CompletedProcess[str]":
    """Run the commands in one shell, as they stand but for the address and the interpreter."""
    commands = (block.command for block in shown)
    script = "set -eo pipefail\n" + "".join(f"{c}\necho; echo '{MARK}'\n" for c in commands)
    address = server.client.base_url.netloc.decode()
    script = script.replace("localhost:8000", address)
    script = script.replace(".venv/bin", str(Path(sys.executable).parent))
    return subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=os.environ | {"EPOCHD_DATA_DIR": str(data)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_chinese_tutorial_has_the_same_commands_and_outputs() -> None:
    assert blocks(CHINESE) == blocks(ENGLISH)
    assert len(blocks(ENGLISH)) > 20


def test_metrics_match_the_reference(fresh_service: Server) -> None:
    """After the pages, so that there are samples with labels."""
    shown = {}
    for row in section(METRICS, "Metrics").splitlines():
        if row.startswith("| `"):
            name, kind, labels = (cell.strip() for cell in row.split("|")[1:4])
            shown[name.strip("`")] = kind, {label.strip(" `") for label in labels.split(",")} - {""}
    answer = fresh_service.client.get("/metrics").text
    printed = {
        family.name + ("_total" if family.type == "counter" else ""): family
        for family in text_string_to_metric_families(answer)
        if not family.name.endswith("_created")
    }
    assert shown.keys() == printed.keys()
    for name, family in printed.items():
        kind, labels = shown[name]
        assert family.type == kind, name
        for sample in family.samples:
            assert sample.labels.keys() - {"le"} == labels, name
