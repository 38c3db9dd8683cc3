"""A progress bar for a job, in terminals and notebooks that have rich."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from threading import Lock
from typing import TYPE_CHECKING

from epochd.schemas import Event, JobInfo

if TYPE_CHECKING:
    from rich.progress import Progress

Show = Callable[[Event], None]
SHOWN_METRICS = 4


@contextmanager
def showing(job: JobInfo, *, wanted: bool = True) -> Iterator[Show]:
    """Show a progress bar, and yield the function that moves it on with an event. Show nothing
    where the output is no terminal or notebook, or rich is missing."""
    if not wanted or (bars := _enter()) is None:
        yield lambda event: None
        return
    try:
        task = bars.add_task(job.name, total=job.progress.epochs, caption=job.status)

        def show(event: Event) -> None:
            if event.kind == "epoch":
                bars.update(task, completed=event.epoch)
            if text := caption(event):
                bars.update(task, caption=text)

        yield show
    finally:
        _leave()


def caption(event: Event) -> str | None:
    """Return what an event says beside the bar; None if nothing new."""
    if event.kind == "status":
        return str(event.data.get("status"))
    if event.kind != "epoch":
        return None
    figures = [(name, value) for name, value in event.data.items() if isinstance(value, float)]
    return "  ".join(f"{name} {value:.4g}" for name, value in figures[:SHOWN_METRICS])


class _Screen:
    """The bars of all jobs that are waited for: a terminal has room for one display."""

    lock = Lock()
    bars: "Progress | None" = None
    users = 0


def _enter() -> "Progress | None":
    """Return the bars, shown from the first user on; None where nothing can show them."""
    with _Screen.lock:
        if _Screen.bars is None and (bars := _bars()) is not None:
            _Screen.bars = bars
            bars.start()
        if _Screen.bars is not None:
            _Screen.users += 1
        return _Screen.bars


def _leave() -> None:
    """End the display with the last user."""
    with _Screen.lock:
        _Screen.users -= 1
        if _Screen.users == 0 and _Screen.bars is not None:
            _Screen.bars.stop()
            _Screen.bars = None


def _bars() -> "Progress | None":
    try:
        from rich import progress
        from rich.console import Console
    except ImportError:
        return None
    console = Console()
    if not (console.is_terminal or (console.is_jupyter and find_spec("ipywidgets"))):
        return None
    return progress.Progress(
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
        progress.TextColumn("{task.fields[caption]}", markup=False),
        console=console,
    )
