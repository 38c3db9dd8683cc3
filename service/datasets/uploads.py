"""Uploads: receive a file, parse it in a separate process and store its rows."""

import asyncio
import math
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect
from ulid import ULID

from ml.datasets.column_types import check_read, check_target, check_value, listed
from ml.datasets.targets import places_of
from ml.errors import Invalid, located_at
from ml.files import sync
from ml.ingest.options import Options
from ml.ingest.schema import Schema, TableSchema
from service.access.caller import caller_of
from service.datasets.file_reader import FileReader
from service.datasets.schemas import UploadQuery
from service.datasets.store import AddedDataset, DatasetStore, NewDataset, content_hash
from service.datasets.upload_parameters import UploadParameters
from service.errors import BadRequest, ClientGone, Unavailable
from service.http.body_limit import too_large
from service.settings import MIB, Settings
from service.storage.disk_space import DiskSpace
from service.storage.write_turns import WriteTurns
from service.work import Work
from service.work.attended import AttendedRequest
from service.work.executors import run_in

FORM = "multipart/form-data"
CHECK_BYTES = 64 * MIB
"""Received bytes between two looks at the disk's free space."""
MAX_FIELDS = 1000
MAX_FIELD_BYTES = 8192
"""Maximum number of fields of a form besides its file, and size of each."""
DEFAULT_NAME = "dataset"
WRITE_PATIENCE_SECONDS = 30.0
"""Wait for a busy database, longer than that of others: a refusal would cost a whole upload."""


@dataclass(frozen=True)
class Received:
    """A completely received file."""

    path: Path
    filename: str | None
    sha256: str
    bytes: int
    fields: tuple[tuple[str, str], ...] = ()
    """Names and values of the other fields of its form."""


class DatasetUploader:
    """Receives uploads, parses them in separate processes and stores them."""

    def __init__(
        self,
        store: DatasetStore,
        settings: Settings,
        work: Work,
        write_turns: WriteTurns,
        disk_space: DiskSpace,
    ) -> None:
        self._store = store
        self._bulk = work.bulk
        self._settings = settings
        self._write_turns = write_turns
        self._disk_space = disk_space
        self._reader = FileReader(settings)

    async def upload(self, request: Request, query: UploadQuery) -> AddedDataset:
        """Receive and parse the file in a request, and return its data set, which its sender owns.
        A failed upload leaves no files behind.

        Raises:
            BadRequest: the upload was interrupted or has no file.
            TooLarge: the file exceeds the limit.
            Unprocessable: a parameter is invalid, or the file cannot be parsed; the message says
                where and why.
            InsufficientStorage: the disk leaves no room for the file.
            QuotaExceeded: the quota of the sender leaves no room for it.
            Unavailable: the file cannot be stored.
        """
        place = self._settings.incoming_dir / str(ULID())
        parameters = UploadParameters(query)
        parameters.options()  # refuses invalid ones before the file is sent
        try:
            await self._require_space(_announced_bytes(request))
            await run_in(self._bulk, partial(place.mkdir, parents=True))
            received = await self._receive(request, place / "file")
            parameters = parameters.with_form(received.fields)
            options, target = parameters.options(), parameters.values.default_target
            name = parameters.values.name or _name_of(received.filename)
            content = content_hash(received.sha256, options)
            caller = caller_of(request.scope)
            known = await asyncio.to_thread(
                self._store.find_duplicate, caller.owner, name, target, content
            )
            if known is not None:
                return AddedDataset(known, created=False)
            await asyncio.to_thread(
                self._store.quotas.check, caller.owner, caller.role, received.bytes
            )
            schema = await self._read(request, received.path, place / "rows", options)
            _check_target(parameters, schema)
            dataset = NewDataset(
                name=name,
                owner=caller.owner,
                role=caller.role,
                target=target,
                sha256=received.sha256,
                bytes=received.bytes,
                options=options,
                schema=schema,
                directory=place / "rows",
            )
            async with self._write_turns.turn(WRITE_PATIENCE_SECONDS):
                return await asyncio.to_thread(self._store.add, dataset)
        except (ClientDisconnect, ClientGone):
            raise BadRequest("the upload was interrupted") from None
        except OSError as error:
            raise Unavailable(f"the upload cannot be stored: {error.strerror}") from error
        finally:
            await run_in(self._bulk, partial(shutil.rmtree, place, ignore_errors=True))

    async def _receive(self, request: Request, path: Path) -> Received:
        if not request.headers.get("content-type", "").startswith(FORM):
            return await self._write(None, request.stream(), path)
        async with request.form(
            max_files=1, max_fields=MAX_FIELDS, max_part_size=MAX_FIELD_BYTES
        ) as form:
            parts = form.multi_items()
            files = [value for _, value in parts if isinstance(value, UploadFile)]
            if not files:
                raise BadRequest(
                    "the form has no file; send one, for example with curl -F file=@table.csv"
                )
            received = await self._write(files[0].filename, _spooled(files[0]), path)
            fields = tuple((name, value) for name, value in parts if isinstance(value, str))
            return replace(received, fields=fields)

    async def _write(
        self, filename: str | None, chunks: AsyncIterator[bytes], path: Path
    ) -> Received:
        digest, size, checked = sha256(), 0, 0
        with path.open("wb") as file:
            async for chunk in chunks:
                size += len(chunk)
                if size > self._settings.max_upload_bytes:
                    raise too_large(self._settings.max_upload_bytes)
                digest.update(chunk)
                await run_in(self._bulk, file.write, chunk)
                if size - checked >= CHECK_BYTES:
                    await self._require_space(0)
                    checked = size
        return Received(path, filename, digest.hexdigest(), size)

    async def _require_space(self, size: int) -> None:
        refusal = await run_in(self._bulk, self._disk_space.refusal, size)
        if refusal is not None:
            raise refusal

    async def _read(self, request: Request, file: Path, rows: Path, options: Options) -> Schema:
        """Parse a file into the directory `rows`, unless the client leaves."""
        reading = asyncio.ensure_future(self._reader.read(file, rows, options))
        try:
            # The reader has a time limit of its own.
            schema = await AttendedRequest(request.receive, math.inf).wait(reading)
        finally:
            # Its process must have ended before its files are deleted.
            await asyncio.wait({reading})
        await run_in(self._bulk, _put_on_disk, rows)
        return schema


def _announced_bytes(request: Request) -> int:
    length = request.headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdecimal() else 0


async def _spooled(file: UploadFile) -> AsyncIterator[bytes]:
    while chunk := await file.read(MIB):
        yield chunk


def _check_target(parameters: UploadParameters, schema: Schema) -> None:
    """Raise `Unprocessable` for a target that no job could predict."""
    columns = {c.name: c for c in schema.columns} if isinstance(schema, TableSchema) else {}
    try:
        for place, target in places_of(parameters.values.default_target):
            with located_at("target", *place):
                check_read(target, schema)
                if target not in columns:
                    some = f"choose one of {listed([*columns])}"
                    there = some if columns else "images have no columns"
                    raise Invalid(f"there is no column {target!r}; {there}")
                check_target(columns[target], schema.rows, schema.warnings)
                if place:
                    check_value(columns[target])
    except Invalid as error:
        raise parameters.refusal(error) from None


def _name_of(filename: str | None) -> str:
    """Return a valid data set name for an uploaded file of this name."""
    stem = Path(filename or "").name.split(".")[0]
    usable = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "-" for c in stem)
    return usable.strip("-_")[:64] or DEFAULT_NAME


def _put_on_disk(directory: Path) -> None:
    for path in directory.iterdir():
        sync(path)
    sync(directory)
