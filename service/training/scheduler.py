"""Queued rows meet free trainers."""

import asyncio
import logging
import os
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy.exc import SQLAlchemyError

from ml import devices
from service.jobs.attempts import AttemptStore, Claim, LeaseLost
from service.jobs.failures import LEASE_EXPIRED, SERVICE_ENDED, trainer_died
from service.jobs.schemas import JobError
from service.settings import Settings
from service.training.device_warnings import DeviceWarnings
from service.training.pool import trainer_count
from service.training.trainer_process import TrainerDied, TrainerProcess

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
WATCH_SECONDS = 0.5
RESTART_SECONDS = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)
"""The wait before a trainer is started again, by how many in a row ended without work done."""
MAX_DEATHS_ON_GPU = 3
"""Trainers in a row that end while starting on a GPU before their slot goes on without it."""


@dataclass
class TrainerSlot:
    """A trainer's place in the pool, which the next one takes when it dies."""

    number: int
    device: str
    """What `auto` means to its trainers."""
    share: float
    """Of the memory of `device`, if that is a GPU: several slots may have the same."""
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    deaths_on_gpu: int = 0
    """Trainers in a row that ended while starting on `device`, a GPU."""


def trainer_slots(count: int) -> list[TrainerSlot]:
    """Return `count` slots, spread evenly over the GPUs, or on the CPU if there is none."""
    gpus = devices.gpu_count() if count else 0
    if not gpus:
        return [TrainerSlot(number, "cpu", 1.0) for number in range(count)]
    return [
        TrainerSlot(number, f"cuda:{number % gpus}", 1 / len(range(number % gpus, count, gpus)))
        for number in range(count)
    ]


class Scheduler:
    """Keeps a pool of trainers at full strength and hands each the job that is next in line."""

    def __init__(self, attempts: AttemptStore, settings: Settings) -> None:
        self._attempts = attempts
        self._settings = settings
        self._draining = False
        self._drained_by = 0.0
        self._warnings = DeviceWarnings(settings.warnings_file)
        self._slots = trainer_slots(trainer_count(settings))
        self._trainers: set[TrainerProcess] = set()
        self._busy: set[asyncio.Task[bool]] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._loop: asyncio.AbstractEventLoop

    async def start(self) -> None:
        """Take over the queue: what an earlier service left running goes back into it."""
        self._loop = asyncio.get_running_loop()
        taken = await asyncio.to_thread(
            self._attempts.expire_leases, SERVICE_ENDED, all_running=True
        )
        if taken:
            logger.info("took %d jobs from a service that is gone", taken)
        self._warnings.clear()
        self._tasks = [asyncio.create_task(self._run_slot(slot)) for slot in self._slots]
        self._tasks.append(asyncio.create_task(self._watch_leases()))

    def nudge(self) -> None:
        """Tell free trainers, from any thread, that a job may be waiting; without it they look
        every second."""
        for slot in self._slots:
            self._loop.call_soon_threadsafe(slot.wake.set)

    def drain(self) -> None:
        """Claim nothing any more, and ask every trainer to give its job back to the queue."""
        if self._draining:
            return
        self._draining = True
        self._drained_by = self._loop.time() + self._settings.trainer_timeout_seconds
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
        # Those that were being ended already, when their task was cancelled.
        await asyncio.gather(*(trainer.stop() for trainer in self._trainers))

    async def _watch_leases(self) -> None:
        """Take jobs from attempts that are not heard of any more."""
        while True:
            await asyncio.sleep(self._settings.lease_seconds / 3)
            try:
                if await asyncio.to_thread(self._attempts.expire_leases, LEASE_EXPIRED):
                    self.nudge()
            except SQLAlchemyError as error:
                logger.error("expired leases could not be taken away: %s", error)

    async def _run_slot(self, slot: TrainerSlot) -> None:
        """Run trainers in `slot`, one after another dies."""
        idle_deaths = 0
        while not self._draining:
            await asyncio.sleep(RESTART_SECONDS[min(idle_deaths, len(RESTART_SECONDS) - 1)])
            try:
                worked = await self._run_trainer(slot)
            except Exception:
                logger.exception("slot %d failed", slot.number)
                worked = False
            idle_deaths = 0 if worked else idle_deaths + 1

    async def _run_trainer(self, slot: TrainerSlot) -> bool:
        """Run one trainer until it dies or leaves; return whether it did any work."""
        try:
            trainer = await TrainerProcess.start(self._settings, slot.device, slot.share)
        except TrainerDied as death:
            logger.error("trainer %d ended while starting: %s", slot.number, death)
            self._record_death(slot)
            return False
        slot.deaths_on_gpu = 0
        self._trainers.add(trainer)
        worked = False
        try:
            while trainer.is_alive and not self._draining:
                slot.wake.clear()
                work = asyncio.create_task(self._work(trainer))
                self._busy.add(work)
                work.add_done_callback(self._busy.discard)
                if await work:
                    worked = True
                    continue
                with suppress(TimeoutError):
                    await asyncio.wait_for(slot.wake.wait(), POLL_SECONDS)
        except TrainerDied as death:
            logger.error("trainer %d died: %s", slot.number, death)
        finally:
            await trainer.stop()
            self._trainers.discard(trainer)
        return worked

    def _record_death(self, slot: TrainerSlot) -> None:
        """Count a trainer that ended while it started; after some go on without the GPU."""
        if slot.device == "cpu":
            return
        slot.deaths_on_gpu += 1
        if slot.deaths_on_gpu < MAX_DEATHS_ON_GPU:
            return
        warning = (
            f"{slot.device} cannot be used: {slot.deaths_on_gpu} trainers in a row ended while "
            f"starting on it, see the log; trainer {slot.number} goes on with the CPU until the "
            "service is started again"
        )
        slot.device, slot.share = "cpu", 1.0
        logger.error("%s", warning)
        self._warnings.add(warning)

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
            with suppress(LeaseLost):
                why = verdict or trainer_died(death.exit_code)
                await asyncio.to_thread(self._attempts.record_crash, claim, why)
            raise
        except asyncio.CancelledError:
            await trainer.stop()
            with suppress(LeaseLost):
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
        timeout = timedelta(seconds=self._settings.trainer_timeout_seconds)
        while not (await asyncio.wait({running}, timeout=WATCH_SECONDS))[0]:
            try:
                verdict = await asyncio.to_thread(self._attempts.overdue, claim, timeout)
            except LeaseLost:
                # The trainer has ended the attempt and is about to say so, or it was taken away.
                if (await asyncio.wait({running}, timeout=self._settings.trainer_timeout_seconds))[
                    0
                ]:
                    return None
                verdict = LEASE_EXPIRED
            if verdict is not None:
                logger.error("trainer process %d does not react; it is killed", trainer.pid)
                trainer.kill()
                return verdict
        return None
