"""The process that reads uploads, changed by a script."""

import json
import subprocess
import sys
from pathlib import Path


def answer_of(script: str, directory: Path) -> object:
    """Run `script`, which starts the reader, on a task with a gigabyte of memory; return its
    answer."""
    task = {
        "source": "",
        "into": "",
        "errors": str(directory / "errors"),
        "options": {},
        "max_memory_bytes": 2**30,
    }
    reader = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps(task).encode(),
        capture_output=True,
        check=False,
    )
    return json.loads(reader.stdout)
