"""Queued rows meet free trainers."""

import asyncio
import logging
import os
import socket
from contextlib import suppress
from datetime import timedelta

import torch
from sqlalchemy.exc import SQLAlchemyError

from service.attempts import AttemptStore, Claim, LostClaim
from service.executors.local import TrainerDied, TrainerProcess
from service.failures import LOST_SERVICE, UNHEARD_OF, died
from service.schemas import JobError
from service.settings import Settings

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
WATCH_SECONDS = 0.5
RESTART_SECONDS = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)
"""The wait before a trainer is started again, by how many in a row ended without work done."""


class Scheduler:
    """Keeps a pool of trainers at full strength and hands each the job that is next in line."""

    def __init__(self, attempts: AttemptStore, settings: Settings) -> None:
        self._attempts = attempts
        self._settings = settings
        self._draining = False
        self._drained_by = 0.0
        self._wakes = [asyncio.Event() for _ in range(settings.trainer_count)]
        self._trainers: set[TrainerProcess] = set()
        self._busy: set[asyncio.Task[bool]] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._loop: asyncio.AbstractEventLoop

    async def start(self) -> None:
        """Take over the queue: what an earlier service left running goes back into it."""
        self._loop = asyncio.get_running_loop()
        taken = await asyncio.to_thread(self._attempts.take_away, LOST_SERVICE, even_leased=True)
        if taken:
            logger.info("took %d jobs from a service that is gone", taken)
        self._tasks = [asyncio.create_task(self._keep(*slot)) for slot in enumerate(self._wakes)]
        self._tasks.append(asyncio.create_task(self._watch_leases()))

    def nudge(self) -> None:
        """Tell free trainers, from any thread, that a job may be waiting; without it they look
        every second."""
        for wake in self._wakes:
            self._loop.call_soon_threadsafe(wake.set)

    def drain(self) -> None:
        """Claim nothing any more, and ask every trainer to give its job back to the queue."""
        if self._draining:
            return
        self._draining = True
        self._drained_by = self._loop.time() + self._settings.patience_seconds
        for trainer in self._trainers:
            trainer.drain()

    async def stop(self) -> None:
        """Drain, as long as that may last; then end every trainer, and put its job back."""
        self.drain()
        if self._busy:
            left = self._drained_by - self._loop.time()
            await asyncio.wait(self._busy, timeout=max(0.0, left))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _watch_leases(self) -> None:
        """Take jobs from attempts that are not heard of any more."""
        while True:
            await asyncio.sleep(self._settings.lease_seconds / 3)
            try:
                if await asyncio.to_thread(self._attempts.take_away, UNHEARD_OF):
                    self.nudge()
            except SQLAlchemyError as error:
                logger.error("expired leases could not be taken away: %s", error)

    async def _keep(self, slot: int, wake: asyncio.Event) -> None:
        """Run trainers in `slot`, one after another dies."""
        idle_deaths = 0
        while not self._draining:
            await asyncio.sleep(RESTART_SECONDS[min(idle_deaths, len(RESTART_SECONDS) - 1)])
            try:
                worked = await self._run_trainer(slot, wake)
            except Exception:
                logger.exception("slot %d failed", slot)
                worked = False
            idle_deaths = 0 if worked else idle_deaths + 1

    async def _run_trainer(self, slot: int, wake: asyncio.Event) -> bool:
        """Run one trainer until it dies; return whether it did any work."""
        try:
            trainer = await TrainerProcess.start(self._settings, _auto_device(slot))
        except TrainerDied as death:
            logger.error("trainer %d ended while starting: %s", slot, death)
            return False
        self._trainers.add(trainer)
        worked = False
        try:
            while trainer.is_alive and not self._draining:
                wake.clear()
                work = asyncio.create_task(self._work(trainer))
                self._busy.add(work)
                work.add_done_callback(self._busy.discard)
                if await work:
                    worked = True
                    continue
                with suppress(TimeoutError):
                    await asyncio.wait_for(wake.wait(), POLL_SECONDS)
        except TrainerDied as death:
            logger.error("trainer %d died: %s", slot, death)
        finally:
            self._trainers.discard(trainer)
            await trainer.stop()
        return worked

    async def _work(self, trainer: TrainerProcess) -> bool:
        """Have the trainer do an attempt at the job that is next in line; return whether there was
        one.

        Raises:
            TrainerDied: the trainer is gone.
        """
        name = f"{socket.gethostname()}:{os.getpid()}:{trainer.pid}"
        try:
            claim = await asyncio.to_thread(self._attempts.claim, name[-64:])
        except SQLAlchemyError as error:
            logger.error("no job can be claimed: %s", error)
            return False
        if claim is None:
            return False
        running = asyncio.create_task(trainer.run(claim))
        verdict = None
        try:
            verdict = await self._watch(trainer, claim, running)
            await running
        except TrainerDied as death:
            with suppress(LostClaim):
                why = verdict or died(death.exit_code)
                await asyncio.to_thread(self._attempts.crashed, claim, why)
            raise
        except asyncio.CancelledError:
            await trainer.stop()
            with suppress(LostClaim):
                await asyncio.to_thread(self._attempts.release, claim)
            raise
        finally:
            running.cancel()
        return True

    async def _watch(
        self, trainer: TrainerProcess, claim: Claim, running: asyncio.Task[None]
    ) -> JobError | None:
        """Wait for the end of an attempt. Kill the trainer if it does not do what is asked of it in
        time, and return what to say of it then."""
        patience = timedelta(seconds=self._settings.patience_seconds)
        while not (await asyncio.wait({running}, timeout=WATCH_SECONDS))[0]:
            try:
                verdict = await asyncio.to_thread(self._attempts.overdue, claim, patience)
            except LostClaim:
                # The trainer has ended the attempt and is about to say so, or it was taken away.
                if (await asyncio.wait({running}, timeout=self._settings.patience_seconds))[0]:
                    return None
                verdict = UNHEARD_OF
            if verdict is not None:
                logger.error("trainer process %d does not react; it is killed", trainer.pid)
                trainer.kill()
                return verdict
        return None


def _auto_device(slot: int) -> str:
    gpus = torch.cuda.device_count()
    return f"cuda:{slot % gpus}" if gpus else "cpu"
