"""A progress bar for a job, in terminals and notebooks that have rich."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from epochd.schemas import Event, JobInfo

Show = Callable[[Event], None]
SHOWN_METRICS = 4


@contextmanager
def showing(job: JobInfo, *, wanted: bool = True) -> Iterator[Show]:
    """Show a progress bar, and yield the function that moves it on with an event. Show nothing
    where the output is no terminal or notebook, or rich is missing."""
    try:
        from rich import progress
        from rich.console import Console
    except ImportError:
        wanted = False
    if not wanted or not ((console := Console()).is_terminal or console.is_jupyter):
        yield lambda event: None
        return
    columns = (
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
        progress.TextColumn("{task.fields[caption]}", markup=False),
    )
    with progress.Progress(*columns, console=console) as bar:
        total = job.progress.epochs
        task = bar.add_task(job.name, total=total, caption=job.status)

        def show(event: Event) -> None:
            if event.kind == "epoch":
                bar.update(task, completed=event.epoch)
            if text := caption(event):
                bar.update(task, caption=text)

        yield show


def caption(event: Event) -> str | None:
    """Return what an event says beside the bar; None if nothing new."""
    if event.kind == "status":
        return str(event.data.get("status"))
    if event.kind != "epoch":
        return None
    figures = [(name, value) for name, value in event.data.items() if isinstance(value, float)]
    return "  ".join(f"{name} {value:.4g}" for name, value in figures[:SHOWN_METRICS])
