"""Process that reads one file within a memory limit: JSON on stdin, JSON on stdout.

Standard error goes to a file, which the service reads if the process dies.
"""

import errno
import json
import os
import re
import resource
import sys
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel

from ml.decoding import unreadable
from ml.errors import Invalid
from ml.ingest import ingest, stall
from ml.ingest.options import Options

MIB = 1024 * 1024
NEARLY = 64 * MIB
"""Distance from the memory limit within which an allocation has probably failed."""


class IngestTask(BaseModel):
    """File to read, destination, options and memory limit."""

    source: Path
    into: Path
    errors: Path
    """File for stderr."""
    options: Options
    max_memory_bytes: int


def main() -> None:
    """Run the task on stdin; print the schema, or the fault of the file."""
    task = IngestTask.model_validate_json(sys.stdin.buffer.read())
    with task.errors.open("wb") as errors:
        os.dup2(errors.fileno(), sys.stderr.fileno())
    limit = task.max_memory_bytes
    # Before the limit: a thread needs memory to start.
    stall.watch(lambda: _give_up(limit), stall.SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    answer: dict[str, object]
    try:
        answer = {"schema": ingest(task.source, task.into, task.options).model_dump(mode="json")}
    except Invalid as error:
        answer = {"invalid": error.msg}
    except MemoryError:  # also Arrow's
        answer = {"memory": limit}
    except OSError as error:
        if error.errno == errno.ENOMEM:
            answer = {"memory": limit}
        elif error.errno is None:  # not of the disk, but of a library
            answer = {"invalid": unreadable("the file", error).msg}
        else:
            answer = {"storage": error.strerror}
    print(json.dumps(answer))


def _give_up(limit: int) -> None:
    """Answer that this process is stuck, and end it."""
    try:
        answer = "memory" if _peak_bytes() > limit - NEARLY else "stalled"
        print(json.dumps({answer: stall.SECONDS}), flush=True)
    finally:  # even without the memory for an answer
        os._exit(1)


def _peak_bytes() -> int:
    """Return the largest size of this process's address space, 0 where that is unknown."""
    with suppress(OSError):
        if found := re.search(r"VmPeak:\s+(\d+) kB", Path("/proc/self/status").read_text()):
            return int(found[1]) * 1024
    return 0


if __name__ == "__main__":
    main()
