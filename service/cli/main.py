"""The commands, but those for keys."""

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.exc import SQLAlchemyError

from ml import __version__
from service import logs
from service.access.startup import prepare
from service.cli import keys
from service.cli.common import DataDir, fail, settings_of, settings_with
from service.errors import DatabaseUnusable, KeyNeeded
from service.maintenance.snapshot import Refused
from service.settings import Settings, given_variables, unknown_variables
from service.storage.data_dir import DataDirError, check_private, check_writable, exclusive

app = typer.Typer(help="Train and serve PyTorch models over HTTP.", no_args_is_help=True)
app.add_typer(keys.keys, name="keys")
app.add_typer(keys.classes, name="class")
logger = logging.getLogger(__name__)

COMPILE_CACHES = {"TORCHINDUCTOR_CACHE_DIR": "torchinductor", "TRITON_CACHE_DIR": "triton"}


@app.callback()
def main() -> None:
    # Every file of ours, and of our libraries and children, is for this user only.
    os.umask(0o077)


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 picks a free one.")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Directory of the database, models and data sets.")
    ] = None,
    uds: Annotated[
        Path | None,
        typer.Option(help="Unix domain socket to listen on instead of a port."),
    ] = None,
    trainers: Annotated[int | None, typer.Option(help="Number of trainer processes.")] = None,
    insecure: Annotated[
        bool | None,
        typer.Option("--insecure", help="Listen beyond this machine even without any key."),
    ] = None,
) -> None:
    """Run the service. Other settings come from EPOCHD_* variables or a .env file."""
    options = {
        "host": host,
        "port": port,
        "uds": uds,
        "data_dir": data_dir,
        "trainers": trainers,
        "insecure": insecure,
    }
    settings = settings_with({name: value for name, value in options.items() if value is not None})
    try:
        with exclusive(settings.data_dir):
            check_writable(settings.data_dir)
            with suppress(KeyboardInterrupt):
                _serve(settings)
    except (DataDirError, DatabaseUnusable, KeyNeeded) as error:
        fail(str(error))


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


@app.command()
def backup(
    directory: Annotated[Path, typer.Argument(help="New directory for the backup.")],
    data_dir: DataDir = None,
    copy: Annotated[
        bool, typer.Option("--copy", help="Copy files even where a hard link is possible.")
    ] = False,
) -> None:
    """Back up the data directory, while the service runs or not."""
    from service.maintenance.backup import back_up

    with _failures_told():
        result = back_up(settings_of(data_dir), directory, link=not copy)
    for fault in result.faults:
        typer.echo(fault, err=True)
    typer.echo(f"{result.directory}: {result.files} files, {result.bytes} bytes")
    if result.faults:
        fail(f"the backup is complete, but contains the {len(result.faults)} faults above")


@app.command()
def restore(
    directory: Annotated[Path, typer.Argument(help="Directory of the backup.")],
    data_dir: DataDir = None,
) -> None:
    """Restore a backup into an empty data directory, with the service stopped."""
    from service.maintenance.restore import restore

    settings = settings_of(data_dir)
    with _failures_told(), exclusive(settings.data_dir):
        origin = restore(settings, directory)
    typer.echo(f"restored {settings.data_dir.resolve()} as of {origin.created_at:%F %T} UTC")


@app.command()
def verify(
    directory: Annotated[
        Path | None, typer.Argument(help="Directory of a backup; default: the data directory.")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Check the database and every file of a backup or of the data directory."""
    from service.maintenance.verify import verify, verify_backup

    count = 0
    with _failures_told():
        settings = settings_of(data_dir)
        for fault in verify_backup(directory) if directory else verify(settings):
            count += 1
            typer.echo(fault)
    if count:
        fail(f"{count} faults")
    typer.echo(f"{(directory or settings.data_dir).resolve()}: no faults")


@app.command()
def adopt(
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="Adopt also from a backup, another data directory or a day of the trash, which "
            "stays as it is.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be done.")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Register models and data sets that the database does not know, with the service stopped."""
    from service.maintenance.adopt import adopt

    settings = settings_of(data_dir)
    with _failures_told(), exclusive(settings.data_dir):
        for line in adopt(settings, source, dry_run):
            typer.echo(line)


def _serve(settings: Settings) -> None:
    logs.configure(settings.log_format)
    for warning in (*unknown_variables(given_variables()), *check_private(settings.data_dir)):
        logger.warning("%s", warning)
    # Elsewhere, a library would put generated code into a directory that others may have made.
    for variable, name in COMPILE_CACHES.items():
        os.environ.setdefault(variable, str(settings.compile_cache_dir / name))

    first_key = prepare(settings)
    if first_key is not None:
        typer.echo(f"key of the first admin, shown only now: {first_key}", err=True)

    # PyTorch takes seconds to import, and only this command needs it.
    from service.app import create_app
    from service.server import unix_socket, web_workers
    from service.server.uvicorn_server import Server

    try:
        if settings.web_workers > 1:
            web_workers.serve(settings)
            return
        server = Server(create_app(settings))
        uds = settings.uds
        with nullcontext(None) if uds is None else unix_socket.listening(uds) as listening:
            if listening is not None:
                logger.info("running on unix:%s", uds)
            server.run([listening] if listening else None)
    except unix_socket.SocketPathError as error:
        fail(str(error))
    except SystemExit:
        # The server has logged the reason.
        raise typer.Exit(1) from None
    if not server.started:
        raise typer.Exit(1)


@contextmanager
def _failures_told() -> Iterator[None]:
    """End the command with one line if it fails."""
    try:
        yield
    except (DataDirError, Refused) as error:
        fail(str(error))
    except (OSError, sqlite3.Error, SQLAlchemyError) as error:
        fail(f"failed: {getattr(error, 'orig', None) or error}")
