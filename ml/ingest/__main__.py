"""Process that reads one file within a memory limit: JSON on stdin, JSON on stdout."""

import json
import resource
import sys
from pathlib import Path

import pyarrow as pa
from pydantic import BaseModel

from ml.errors import Invalid
from ml.ingest import ingest
from ml.ingest.options import Options

MIB = 1024 * 1024


class IngestTask(BaseModel):
    """File to read, destination, options and memory limit."""

    source: Path
    into: Path
    options: Options
    max_memory_bytes: int


def main() -> None:
    """Run the task on stdin; print the schema, or the fault of the file."""
    task = IngestTask.model_validate_json(sys.stdin.buffer.read())
    limit = task.max_memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    answer: dict[str, object]
    try:
        answer = {"schema": ingest(task.source, task.into, task.options).model_dump(mode="json")}
    except Invalid as error:
        answer = {"invalid": {"msg": error.msg, "loc": error.loc}}
    except (MemoryError, pa.ArrowMemoryError):
        message = f"needs over {limit // MIB:,} MiB of memory to read (EPOCHD_INGEST_MB)"
        answer = {"invalid": {"msg": message, "loc": []}}
    except OSError as error:
        answer = {"storage": error.strerror or str(error)}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
