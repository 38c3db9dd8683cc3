"""The command line."""

import logging
import os
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic import ValidationError

from ml import __version__
from service import logs
from service.settings import Settings, given_variables, unknown_variables
from service.storage.data_dir import DataDirError, check_private, check_writable, exclusive

app = typer.Typer(help="Train and serve PyTorch models over HTTP.", no_args_is_help=True)
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
) -> None:
    """Run the service. Other settings come from EPOCHD_* variables or a .env file."""
    options = {
        "host": host,
        "port": port,
        "uds": uds,
        "data_dir": data_dir,
        "trainers": trainers,
    }
    settings = _settings({name: value for name, value in options.items() if value is not None})
    try:
        with exclusive(settings.data_dir):
            check_writable(settings.data_dir)
            with suppress(KeyboardInterrupt):
                _serve(settings)
    except DataDirError as error:
        _fail(str(error))


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def _serve(settings: Settings) -> None:
    logs.configure(settings.log_format)
    for warning in (*unknown_variables(given_variables()), *check_private(settings.data_dir)):
        logger.warning("%s", warning)
    # Elsewhere, a library would put generated code into a directory that others may have made.
    for variable, name in COMPILE_CACHES.items():
        os.environ.setdefault(variable, str(settings.compile_cache_dir / name))

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
        _fail(str(error))
    if not server.started:
        raise typer.Exit(1)


def _settings(given: dict[str, Any]) -> Settings:
    try:
        return Settings(**given)
    except ValidationError as error:
        problems = (
            f"EPOCHD_{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()
        )
        _fail("\n".join(problems))


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)
