"""The scheduler: assigns queued jobs to free trainers."""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

from sqlalchemy.exc import SQLAlchemyError

from ml import devices
from service.jobs.attempts import AttemptStore, Claim, LeaseLost
from service.jobs.failures import LEASE_EXPIRED, SERVICE_ENDED, trainer_died
from service.jobs.lease_grace import LeaseGrace
from service.jobs.schemas import JobError
from service.settings import Settings
from service.training.device_warnings import DeviceWarnings
from service.training.pool import trainer_count
from service.training.pool_health import PoolHealth
from service.training.retry import RETRY_SECONDS, Result, passes
from service.training.roster import Place, Roster
from service.training.trainer_process import TrainerDied, TrainerProcess

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
PREEMPT_SECONDS = 1.0
"""Seconds between two looks for a job that should give way."""
WATCH_SECONDS = 0.5
STOOD_STILL_SECONDS = 5.0
"""Time between two looks at an attempt above which this process, or the machine, stood still."""
RESTART_SECONDS = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Delay before a trainer restarts, by the number in a row that ended without any work."""
MAX_DEATHS_ON_GPU = 3
"""Failed starts in a row on a GPU after which a slot falls back to the CPU."""


@dataclass
class TrainerSlot:
    """A place in the pool, filled by one trainer after another."""

    number: int
    device: str
    """Device for `auto`."""
    share: float
    """Share of the memory of `device` if it is a GPU, which several slots may share."""
    trainer: str | None = None
    """Name of the trainer in this place, once it has started."""
    is_busy: bool = False
    """Whether the trainer has a job."""
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    deaths_on_gpu: int = 0
    """Failed starts in a row on `device`, a GPU."""


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
    """Keeps the pool of trainers full and assigns the next job to each free trainer."""

    def __init__(self, attempts: AttemptStore, settings: Settings) -> None:
        self._attempts = attempts
        self._settings = settings
        self._draining = False
        self._drained_by = 0.0
        self._warnings = DeviceWarnings(settings.warnings_file)
        self._health = PoolHealth(settings.pool_health_file)
        self._roster = Roster(settings.roster_file)
        self._slots = trainer_slots(trainer_count(settings))
        self._trainers: set[TrainerProcess] = set()
        self._busy: set[asyncio.Task[bool]] = set()
        self._tasks: list[asyncio.Task[None]] = []
        # Its own threads: while they wait for the database, nothing else of the process waits.
        self._threads = ThreadPoolExecutor(len(self._slots) + 2, "scheduler")
        self._loop: asyncio.AbstractEventLoop

    async def start(self) -> None:
        """Requeue the jobs that an earlier service left running, and start the trainers."""
        self._loop = asyncio.get_running_loop()
        taken = await self._in_thread(
            partial(self._attempts.expire_leases, SERVICE_ENDED, all_running=True)
        )
        if taken:
            logger.info("recovered %d jobs left running by an earlier service", taken)
        self._warnings.clear()
        if self._slots:
            self._health.empty()
        else:
            self._health.clear()
        self._write_roster()
        self._tasks = [asyncio.create_task(self._run_slot(slot)) for slot in self._slots]
        self._tasks.append(asyncio.create_task(self._watch_leases()))
        self._tasks.append(asyncio.create_task(self._watch_turns()))

    def nudge(self) -> None:
        """Wake free trainers, from any thread, when a job may be queued; otherwise they poll every
        second."""
        for slot in self._slots:
            self._loop.call_soon_threadsafe(slot.wake.set)

    def drain(self) -> None:
        """Stop claiming jobs, and ask every trainer to requeue its own."""
        if self._draining:
            return
        self._draining = True
        self._drained_by = self._loop.time() + self._settings.trainer_timeout_seconds
        for trainer in self._trainers:
            trainer.drain()

    async def stop(self) -> None:
        """Drain until the timeout; then kill the remaining trainers and requeue their jobs."""
        self.drain()
        if self._busy:
            left = self._drained_by - self._loop.time()
            await asyncio.wait(self._busy, timeout=max(0.0, left))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # Trainers that were stopping when their task was cancelled.
        await asyncio.gather(*(trainer.stop() for trainer in self._trainers))
        self._threads.shutdown(wait=False)

    async def _watch_leases(self) -> None:
        """Expire the leases of attempts without a heartbeat."""
        while True:
            await asyncio.sleep(self._settings.lease_seconds / 3)
            try:
                if await self._in_thread(partial(self._attempts.expire_leases, LEASE_EXPIRED)):
                    self.nudge()
            except SQLAlchemyError as error:
                logger.error("could not expire leases: %s", error)

    async def _watch_turns(self) -> None:
        """While no trainer is free, have jobs give way to those whose turn it is."""
        while self._slots and not self._draining:
            await asyncio.sleep(PREEMPT_SECONDS)
            if any(slot.trainer is not None and not slot.is_busy for slot in self._slots):
                continue
            try:
                job_id = await self._in_thread(self._attempts.preempt)
            except SQLAlchemyError as error:
                logger.error("could not look at whose turn it is: %s", error)
                continue
            if job_id is not None:
                logger.info("job %s gives way to one that waits", job_id)

    def _write_roster(self) -> None:
        self._roster.write(Place(slot.number, slot.device, slot.trainer) for slot in self._slots)

    async def _run_slot(self, slot: TrainerSlot) -> None:
        """Run trainers in `slot`, restarting each that dies."""
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
        """Run one trainer until it ends; return whether it did any work."""
        try:
            trainer = await TrainerProcess.start(self._settings, slot.device, slot.share)
        except TrainerDied as death:
            logger.error("trainer %d ended while starting: %s", slot.number, death)
            self._record_death(slot)
            if not self._trainers:
                self._health.failed(str(death))
            return False
        slot.deaths_on_gpu = 0
        self._trainers.add(trainer)
        self._health.clear()
        slot.trainer = f"{socket.gethostname()}:{os.getpid()}:{trainer.pid}"[-64:]
        self._write_roster()
        worked = False
        try:
            while trainer.is_alive and not self._draining:
                slot.wake.clear()
                work = asyncio.create_task(self._work(trainer, slot))
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
            slot.trainer = None
            self._write_roster()
            await trainer.stop()
            self._trainers.discard(trainer)
            if not self._trainers:
                self._health.empty()
        return worked

    def _record_death(self, slot: TrainerSlot) -> None:
        """Count a failed start; after `MAX_DEATHS_ON_GPU` in a row, fall back to the CPU."""
        if slot.device == "cpu":
            return
        slot.deaths_on_gpu += 1
        if slot.deaths_on_gpu < MAX_DEATHS_ON_GPU:
            return
        warning = (
            f"{slot.device} cannot be used: {slot.deaths_on_gpu} trainers in a row ended while "
            f"starting on it; trainer {slot.number} uses the CPU until the service restarts; see "
            "the log"
        )
        slot.device, slot.share = "cpu", 1.0
        logger.error("%s", warning)
        self._warnings.add(warning)

    async def _work(self, trainer: TrainerProcess, slot: TrainerSlot) -> bool:
        """Run an attempt at the next job in the trainer of a slot; return whether there was a job.

        Raises:
            TrainerDied: the trainer died.
        """
        assert slot.trainer is not None
        try:
            claim = await self._in_thread(partial(self._attempts.claim, slot.trainer))
        except SQLAlchemyError as error:
            logger.error("could not claim a job: %s", error)
            return False
        if claim is None:
            return False
        slot.is_busy = True
        running = asyncio.create_task(trainer.run(claim))
        verdict = None
        try:
            verdict = await self._watch(trainer, claim, running)
            await running
        except TrainerDied as death:
            with suppress(LeaseLost):
                why = verdict or trainer_died(death.exit_code, death.out_of_memory)
                await self._until_done(partial(self._attempts.record_crash, claim, why))
            raise
        except asyncio.CancelledError:
            await trainer.stop()
            with suppress(LeaseLost):
                await self._in_thread(partial(self._attempts.release, claim))
            raise
        finally:
            slot.is_busy = False
            running.cancel()
        return True

    async def _watch(
        self, trainer: TrainerProcess, claim: Claim, running: asyncio.Task[None]
    ) -> JobError | None:
        """Wait for the end of an attempt; if overdue, kill the trainer and return the error."""
        timeout = timedelta(seconds=self._settings.trainer_timeout_seconds)
        grace = LeaseGrace(self._settings.lease_seconds, STOOD_STILL_SECONDS)
        while not (await asyncio.wait({running}, timeout=WATCH_SECONDS))[0]:
            if grace.covers_now(time.time()) or trainer.waits_for_database:
                continue
            try:
                verdict = await self._in_thread(partial(self._attempts.overdue, claim, timeout))
            except LeaseLost:
                # The attempt has ended and its reply is on the way, or its lease was lost.
                if (await asyncio.wait({running}, timeout=self._settings.trainer_timeout_seconds))[
                    0
                ]:
                    return None
                verdict = LEASE_EXPIRED
            except SQLAlchemyError as error:
                logger.error("could not look after %s: %s", claim.job_id, error)
                continue
            # Asked again: the trainer may have begun to wait meanwhile.
            if verdict is not None and not trainer.waits_for_database:
                logger.error("killing trainer process %d, which does not respond", trainer.pid)
                trainer.kill()
                return verdict
        return None

    async def _until_done(self, transaction: Callable[[], object]) -> None:
        """Run a transaction until the database takes it."""
        while True:
            try:
                await self._in_thread(transaction)
            except SQLAlchemyError as error:
                if not passes(error):
                    raise
                logger.warning("the database cannot be written; trying again: %s", error)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    async def _in_thread(self, transaction: Callable[[], Result]) -> Result:
        return await self._loop.run_in_executor(self._threads, transaction)
