"""Rendering of charts in a separate process, so that it does not delay predictions."""

import json
import os
import subprocess
import threading
from typing import Any

from ml.charts.render import PictureFormat
from service.errors import Overloaded, Unavailable
from service.processes import start_in_thread

MAX_WAITING = 16
"""Maximum number of concurrent requests for images."""
DRAW_SECONDS = 30.0
"""Time limit for an image."""
NICE = 10
OOM_SCORE = 800
"""Preference of the kernel for killing the process when memory runs out."""


class Renderer:
    """Draws one image at a time. Thread-safe.

    The child process starts with the first image. It exits when its standard input closes, and so
    even if this process crashes.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._turn = threading.Lock()
        self._places = threading.BoundedSemaphore(MAX_WAITING)

    def draw(self, specification: dict[str, Any], form: PictureFormat) -> bytes:
        """Return an image of a Vega-Lite specification.

        Raises:
            Overloaded: too many requests are waiting.
            Unavailable: drawing took longer than `DRAW_SECONDS`, or the process died.
        """
        if not self._places.acquire(blocking=False):
            raise Overloaded(
                f"{MAX_WAITING} requests for charts are waiting already; retry in a second"
            )
        try:
            with self._turn:
                return self._draw(specification, form)
        finally:
            self._places.release()

    def close(self) -> None:
        """Stop the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def _draw(self, specification: dict[str, Any], form: PictureFormat) -> bytes:
        process = self._running()
        assert process.stdin
        assert process.stdout
        alarm = threading.Timer(DRAW_SECONDS, process.kill)
        alarm.start()
        try:
            request = {"form": form, "specification": specification}
            process.stdin.write(json.dumps(request, allow_nan=False).encode() + b"\n")
            process.stdin.flush()
            word, length = process.stdout.readline().split()
            answer = process.stdout.read(int(length))
        except (BrokenPipeError, ValueError) as error:
            raise Unavailable("the chart could not be drawn; try again later") from error
        finally:
            alarm.cancel()
        if word != b"ok":
            raise RuntimeError(f"drawing failed: {answer.decode()}")
        return answer

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is not None and self._process.poll() is not None:
            self.close()
            self._process = None
        if self._process is None:
            self._process = start_in_thread("ml.charts.render", oom_score=OOM_SCORE)
            os.setpriority(os.PRIO_PROCESS, self._process.pid, NICE)
        return self._process
