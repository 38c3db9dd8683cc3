"""Process that reads one file within a memory limit: JSON on stdin, JSON on stdout.

Standard error goes to a file, which the service reads if the process dies.
"""

import json
import os
import resource
import sys
from pathlib import Path

from pydantic import BaseModel

from ml.decoding import unreadable
from ml.errors import Invalid
from ml.ingest import ingest
from ml.ingest.options import Options

MIB = 1024 * 1024


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
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    answer: dict[str, object]
    try:
        answer = {"schema": ingest(task.source, task.into, task.options).model_dump(mode="json")}
    except Invalid as error:
        answer = {"invalid": error.msg}
    except MemoryError:  # also Arrow's
        answer = {"memory": limit}
    except OSError as error:
        if error.errno is None:  # not of the disk, but of a library
            answer = {"invalid": unreadable("the file", error).msg}
        else:
            answer = {"storage": error.strerror}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
