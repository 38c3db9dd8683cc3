"""Queued rows meet free trainers."""

import asyncio
import logging
from contextlib import suppress

import torch

from service.executors.local import TrainerDied, TrainerProcess
from service.failures import died
from service.jobs import Claim, JobStore, LostClaim
from service.settings import Settings

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
RESTART_SECONDS = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)
"""The wait before a trainer is started again, by how many in a row ended without work done."""


class Scheduler:
    """Keeps a pool of trainers at full strength and hands each the job that waits longest."""

    def __init__(self, jobs: JobStore, settings: Settings) -> None:
        self._jobs = jobs
        self._settings = settings
        self._nudged = asyncio.Event()
        self._claiming = asyncio.Lock()
        self._slots: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Take over the queue: what an earlier service left running goes back into it."""
        if requeued := await asyncio.to_thread(self._jobs.requeue_running):
            logger.info("%d interrupted jobs are back in the queue", requeued)
        count = self._settings.trainer_count
        self._slots = [asyncio.create_task(self._keep(slot)) for slot in range(count)]

    async def stop(self) -> None:
        """Stop every trainer; what they ran goes back into the queue."""
        for slot in self._slots:
            slot.cancel()
        await asyncio.gather(*self._slots, return_exceptions=True)
        await asyncio.to_thread(self._jobs.requeue_running)

    def nudge(self) -> None:
        """Tell free trainers that a job may be waiting; without it they look every second."""
        self._nudged.set()

    async def _keep(self, slot: int) -> None:
        """Run trainers in `slot`, one after another dies."""
        idle_deaths = 0
        while True:
            await asyncio.sleep(RESTART_SECONDS[min(idle_deaths, len(RESTART_SECONDS) - 1)])
            try:
                worked = await self._run_trainer(slot)
            except Exception:
                logger.exception("slot %d failed", slot)
                worked = False
            idle_deaths = 0 if worked else idle_deaths + 1

    async def _run_trainer(self, slot: int) -> bool:
        """Run one trainer until it dies; return whether it finished any job."""
        finished = 0
        try:
            trainer = await TrainerProcess.start(self._settings, _auto_device(slot))
        except TrainerDied as death:
            logger.error("trainer %d ended while starting: %s", slot, death)
            return False
        try:
            while True:
                claim = await self._next()
                try:
                    await trainer.run(claim)
                except TrainerDied as death:
                    logger.error("trainer %d died: %s", slot, death)
                    await self._write_off(claim, death)
                    return finished > 0
                finished += 1
        finally:
            await trainer.stop()

    async def _next(self) -> Claim:
        # One slot waits at a time, so that no nudge is heard by a slot that does not need it.
        async with self._claiming:
            while True:
                self._nudged.clear()
                if claim := await asyncio.to_thread(self._jobs.claim):
                    return claim
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._nudged.wait(), POLL_SECONDS)

    async def _write_off(self, claim: Claim, death: TrainerDied) -> None:
        with suppress(LostClaim):
            await asyncio.to_thread(self._jobs.fail, claim, died(death.exit_code))


def _auto_device(slot: int) -> str:
    gpus = torch.cuda.device_count()
    return f"cuda:{slot % gpus}" if gpus else "cpu"
