"""The command line."""

from pathlib import Path
from typing import Annotated, Any

import typer
import uvicorn

from ml import __version__
from service.app import create_app
from service.settings import Settings

app = typer.Typer(help="Train and serve PyTorch models over HTTP.", no_args_is_help=True)


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 picks a free one.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where everything is kept.")] = None,
    trainers: Annotated[int | None, typer.Option(help="Trainer processes.")] = None,
) -> None:
    """Run the service. What is not given here comes from EPOCHD_* variables or a .env file."""
    options = {"host": host, "port": port, "data_dir": data_dir, "trainers": trainers}
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    settings = Settings(**given)
    uvicorn.run(create_app(settings), host=settings.host, port=settings.port, log_level="info")


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)
