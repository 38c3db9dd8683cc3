"""The command line."""

from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic import ValidationError

from ml import __version__
from service import logs
from service.errors import DatabaseUnusable
from service.settings import Settings
from service.storage.data_dir import DataDirError, check_writable, exclusive

app = typer.Typer(help="Train and serve PyTorch models over HTTP.", no_args_is_help=True)


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 picks a free one.")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Directory of the database, models and data sets.")
    ] = None,
    trainers: Annotated[int | None, typer.Option(help="Number of trainer processes.")] = None,
) -> None:
    """Run the service. Other settings come from EPOCHD_* variables or a .env file."""
    options = {"host": host, "port": port, "data_dir": data_dir, "trainers": trainers}
    settings = _settings({name: value for name, value in options.items() if value is not None})
    try:
        with exclusive(settings.data_dir):
            check_writable(settings.data_dir)
            with suppress(KeyboardInterrupt):
                _serve(settings)
    except (DataDirError, DatabaseUnusable) as error:
        _fail(str(error))


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def _serve(settings: Settings) -> None:
    # PyTorch takes seconds to import, and only this command needs it.
    from service.app import create_app
    from service.server import web_workers
    from service.server.uvicorn_server import Server

    logs.configure(settings.log_format)
    if settings.web_workers > 1:
        web_workers.serve(settings)
        return
    server = Server(create_app(settings))
    server.run()
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
