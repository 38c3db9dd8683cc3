"""Parsing of uploaded files, each in a process with limits of memory and time.

A file that cannot be read, or not within the limits, is the client's to mend. A process that dies
or cannot start is the service's own fault.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from ml.errors import Invalid
from ml.ingest.options import Options
from ml.ingest.schema import Schema
from service import processes
from service.datasets.from_rows import SCHEMA
from service.errors import ReaderFailed, Unavailable, Unprocessable
from service.settings import MIB, Settings

MAX_READERS = 2
"""Maximum number of uploads parsed concurrently; others wait."""
LARGE_BYTES = 16 * MIB
"""Size from which files leave one reader to smaller ones."""
OUT_OF_MEMORY = (b"bad_alloc", b"memoryerror", b"cannot allocate memory", b"out of memory")
"""Last words of libraries that end the process when an allocation fails."""
LAST_WORDS = 4096
OOM_SCORE = 800
"""Preference of the kernel for killing the reader when memory runs out."""

logger = logging.getLogger(__name__)


class FileReader:
    """Parses uploaded files in separate processes. Bound to one event loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._any = asyncio.Semaphore(MAX_READERS)
        self._large = asyncio.Semaphore(MAX_READERS - 1)

    async def read(self, file: Path, rows: Path, options: Options) -> Schema:
        """Parse a file into the new directory `rows`. If this is cancelled, the process is killed.

        Raises:
            Unprocessable: the file cannot be parsed, or not within the limits.
            ReaderFailed: the process died, stalled or could not start.
            Unavailable: the rows cannot be stored.
        """
        async with self._turn(file.stat().st_size):
            answer = await self._run(file, rows, options)
        match answer:
            case {"schema": schema}:
                return SCHEMA.validate_python(schema)
            case {"invalid": message}:
                raise _unreadable(message)
            case {"memory": _}:
                raise self._out_of_memory()
            case {"stalled": seconds}:
                raise ReaderFailed(
                    f"the reader of uploads did nothing for {seconds} seconds; send the file again"
                )
            case {"storage": reason}:
                raise Unavailable(f"the upload cannot be stored: {reason}")
        raise AssertionError(answer)

    @contextlib.asynccontextmanager
    async def _turn(self, size: int) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            if size >= LARGE_BYTES:
                await stack.enter_async_context(self._large)
            await stack.enter_async_context(self._any)
            yield

    async def _run(self, file: Path, rows: Path, options: Options) -> dict[str, Any]:
        rows.mkdir()
        errors = file.with_name("errors")
        task = {
            "source": str(file),
            "into": str(rows),
            "errors": str(errors),
            "options": options.model_dump(mode="json"),
            "max_memory_bytes": self._settings.ingest_mb * MIB,
        }
        try:
            process = await processes.start("ml.ingest", oom_score=OOM_SCORE)
        except OSError as error:
            logger.exception("the reader of uploads could not start")
            raise ReaderFailed(f"the reader of uploads could not start: {error.strerror}") from None
        try:
            output = await asyncio.wait_for(
                process.communicate(json.dumps(task).encode()), self._settings.ingest_seconds
            )
        except TimeoutError:
            seconds = self._settings.ingest_seconds
            raise _unreadable(
                f"takes over {seconds:g} seconds to parse, the limit of EPOCHD_INGEST_SECONDS"
            ) from None
        finally:
            process.kill()
            await process.wait()
        try:
            answer: dict[str, Any] = json.loads(output)
        except ValueError:
            raise self._death(process.returncode or 0, errors) from None
        return answer

    def _death(self, code: int, errors: Path) -> Unprocessable | ReaderFailed:
        """Explain the death of a process that gave no answer."""
        words = errors.read_bytes()[-LAST_WORDS:] if errors.exists() else b""
        if any(mark in words.lower() for mark in OUT_OF_MEMORY):
            return self._out_of_memory()
        end = processes.describe_exit(code)
        logger.error("the reader of uploads died: %s\n%s", end, words.decode(errors="replace"))
        return ReaderFailed(f"the reader of uploads died ({end}); send the file again later")

    def _out_of_memory(self) -> Unprocessable:
        return _unreadable(
            f"needs over {self._settings.ingest_mb:,} MiB of memory to read, the limit of "
            "EPOCHD_INGEST_MB"
        )


def _unreadable(message: str) -> Unprocessable:
    return Unprocessable.at(Invalid(message), "body")
