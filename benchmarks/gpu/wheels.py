"""Install packages that a bare machine lacks from a directory of wheels."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def installed(wheels: Path) -> Iterator[list[Path]]:
    """Install all wheels in a directory into a temporary directory, and yield the directories to
    add to the path; the current environment stays unchanged."""
    files = sorted(wheels.glob("*.whl"))
    if not files:
        yield []
        return
    with tempfile.TemporaryDirectory(prefix="gpu-wheels-") as site:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        pip += ["--no-index", "--no-deps", "--no-compile", "--no-cache-dir"]
        pip += ["--find-links", str(wheels), "--target", site]
        code = subprocess.run([*pip, *map(str, files)], check=False).returncode
        if code:
            # Parts that need them report it; the others run.
            print(f"the wheels in {wheels} were not installed: pip exited with {code}", flush=True)
        yield [Path(site)]
