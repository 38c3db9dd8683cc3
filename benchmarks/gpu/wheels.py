"""Packages that a bare machine lacks, from wheels that were carried to it."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def installed(wheels: Path) -> Iterator[list[Path]]:
    """Install all wheels of a directory into a temporary one, and yield it, or nothing where there
    are none; this environment stays as it is."""
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
            # A part that needs them says so itself; the others run.
            print(f"the wheels of {wheels} were not installed: pip ended with {code}", flush=True)
        yield [Path(site)]
