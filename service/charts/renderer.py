"""Charts drawn as pictures, in a process of their own, so that predictions do not wait for it."""

import json
import os
import subprocess
import threading
from typing import Any

from ml.charts.render import PictureFormat
from service.errors import Overloaded, Unavailable
from service.processes import start_in_thread

MAX_WAITING = 16
"""Requests for pictures at a time."""
DRAW_SECONDS = 30.0
"""The longest that one may take."""
NICE = 10


class Renderer:
    """Draws one picture after another. Safe to use from several threads.

    Its process starts with the first picture, and ends with this one, however that ends: then its
    standard input does.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._turn = threading.Lock()
        self._places = threading.BoundedSemaphore(MAX_WAITING)

    def draw(self, specification: dict[str, Any], form: PictureFormat) -> bytes:
        """Return the picture of a Vega-Lite specification.

        Raises:
            Overloaded: too many are waited for.
            Unavailable: it took too long, or the process that draws ended.
        """
        if not self._places.acquire(blocking=False):
            raise Overloaded(f"{MAX_WAITING} pictures are waited for already")
        try:
            with self._turn:
                return self._draw(specification, form)
        finally:
            self._places.release()

    def close(self) -> None:
        """End the process."""
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
            raise Unavailable("the picture could not be drawn at present") from error
        finally:
            alarm.cancel()
        if word != b"ok":
            raise RuntimeError(f"no picture: {answer.decode()}")
        return answer

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is not None and self._process.poll() is not None:
            self.close()
            self._process = None
        if self._process is None:
            self._process = start_in_thread("ml.charts.render")
            os.setpriority(os.PRIO_PROCESS, self._process.pid, NICE)
        return self._process
