"""Trainers as warm child processes."""

import asyncio
import json
import os
import signal
import time
from asyncio.subprocess import PIPE
from contextlib import suppress
from dataclasses import asdict

from service import memory, processes
from service.jobs.attempts import Claim
from service.settings import Settings
from service.training import reproducibility
from service.training.pool import threads_per_trainer
from service.training.trainer import DRAIN, LAST, WAITING, TrainerConfig

WAITING_SECONDS = 10.0
"""Time for which an attempt counts as waiting after a `waiting`, which trainers repeat sooner."""

OOM_SCORE = 500
"""Preference of the kernel for killing a trainer rather than a web process."""
CHUNK = 64 * 1024
MAX_LINE = 300


class TrainerDied(Exception):
    """The trainer process ended during its attempt or while starting."""

    def __init__(self, exit_code: int, last_line: str = "", out_of_memory: bool = False) -> None:
        """`last_line` is the last one of its standard error. `out_of_memory` says that the kernel
        killed a process when memory ran out, and so this one."""
        said = f": {last_line}" if last_line else ""
        super().__init__(f"{processes.describe_exit(exit_code)}{said}")
        self.exit_code = exit_code
        self.out_of_memory = out_of_memory


class TrainerProcess:
    """One warm trainer: PyTorch imported, device initialised, ready for attempts."""

    def __init__(self, process: processes.Child) -> None:
        self._process = process
        self._is_leaving = False
        self._waited_at = -WAITING_SECONDS
        self._last_line = ""
        self._oom_kills = memory.oom_kills()
        self._forwarding = asyncio.create_task(self._forward_stderr())

    @classmethod
    async def start(cls, settings: Settings, auto_device: str, share: float) -> "TrainerProcess":
        """Start a trainer and wait until it is warm. If `auto_device` is a GPU, the trainer may use
        `share`, in (0, 1], of its memory.

        Raises:
            TrainerDied: the process ended first.
        """
        threads = threads_per_trainer(settings)
        config = TrainerConfig(
            settings=settings, auto_device=auto_device, share=share, threads=threads
        )
        process = await processes.start(
            "service.training.trainer",
            config=config.model_dump_json(),
            stderr=PIPE,
            environment={"OMP_NUM_THREADS": str(threads), **reproducibility.environment()},
            oom_score=OOM_SCORE,
        )
        trainer = cls(process)
        try:
            await trainer._reply()
        except asyncio.CancelledError:
            await trainer.stop()
            raise
        return trainer

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the trainer can run an attempt: it has neither ended nor replied `last`."""
        return self._process.returncode is None and not self._is_leaving

    @property
    def waits_for_database(self) -> bool:
        """Whether its attempt cannot write at present. A trainer that stopped does not say so."""
        return time.monotonic() - self._waited_at < WAITING_SECONDS

    async def run(self, claim: Claim) -> None:
        """Run one attempt to its end; the trainer writes the outcome into the job's row.

        Raises:
            TrainerDied: the process ended during the attempt.
        """
        assert self._process.stdin
        self._oom_kills = memory.oom_kills()
        self._process.stdin.write(json.dumps(asdict(claim)).encode() + b"\n")
        self._is_leaving = await self._reply() == LAST

    def drain(self) -> None:
        """Ask the trainer to save a checkpoint and requeue its job."""
        assert self._process.stdin
        if self.is_alive:
            self._process.stdin.write(f"{DRAIN}\n".encode())

    def kill(self) -> None:
        """Kill the process; `run` then raises `TrainerDied`."""
        if self._process.returncode is None:
            self._process.kill()

    async def stop(self) -> None:
        """Kill the process and wait for its end."""
        self.kill()
        await self._process.wait()
        await self._rest_of_stderr()

    async def _reply(self) -> str:
        assert self._process.stdout
        while line := await self._process.stdout.readline():
            reply = line.decode().strip()
            if reply != WAITING:
                return reply
            self._waited_at = time.monotonic()
        exit_code = await self._process.wait()
        await self._rest_of_stderr()
        killed = exit_code == -signal.SIGKILL and memory.oom_kills() > self._oom_kills
        raise TrainerDied(exit_code, self._last_line, killed)

    async def _forward_stderr(self) -> None:
        """Copy the trainer's standard error to this process's, and remember its last line."""
        assert self._process.stderr
        rest = b""
        while chunk := await self._process.stderr.read(CHUNK):
            with suppress(OSError):
                os.write(2, chunk)
            rest = (rest + chunk)[-MAX_LINE:]
            lines = [line for line in rest.splitlines() if line.strip()]
            if lines:
                self._last_line = lines[-1].decode(errors="replace").strip()

    async def _rest_of_stderr(self) -> None:
        # Children of the trainer may keep its standard error open.
        await asyncio.wait({self._forwarding}, timeout=1)
        self._forwarding.cancel()
