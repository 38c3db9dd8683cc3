"""The client as a package: what it needs, and the distribution of its own."""

import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

HEAVY = "{'torch', 'fastapi', 'starlette', 'sqlalchemy', 'service', 'ml', 'numpy', 'pandas', 'PIL'}"


def test_importing_it_imports_nothing_heavy() -> None:
    script = f"import sys; import epochd; print(sorted({HEAVY} & sys.modules.keys()))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_its_wheel_has_the_package_and_needs_httpx_and_pydantic(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    script = f"from hatchling.build import build_wheel; print(build_wheel({str(tmp_path)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=REPOSITORY / "epochd",
        capture_output=True,
        text=True,
        check=True,
    )
    name = done.stdout.strip()
    assert name.startswith("epochd_client-")
    with zipfile.ZipFile(tmp_path / name) as wheel:
        files = {file for file in wheel.namelist() if ".dist-info/" not in file}
        (metadata,) = (file for file in wheel.namelist() if file.endswith("/METADATA"))
        needed = Parser().parsestr(wheel.read(metadata).decode()).get_all("Requires-Dist") or []
    package = REPOSITORY / "epochd"
    sources = {file.relative_to(REPOSITORY).as_posix() for file in package.rglob("*.py")}
    assert files == sources | {"epochd/py.typed"}
    required = [line for line in needed if "extra ==" not in line]
    assert sorted(line.split(">")[0] for line in required) == ["httpx", "pydantic"]
