"""Stages with all that belongs to them: children, their metrics, the server that shows both."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipeline.broker_process import is_locked, open_lock, try_lock
from pipeline.errors import FatalError
from pipeline.health import Health, HealthServer, keep_fresh
from pipeline.settings import Settings, Stage
from pipeline.store.database import Database
from pipeline.supervisor import GRACE_S, Supervisor

_LOCK: Final = "lock"


@dataclass(frozen=True, slots=True)
class Running:
    """Stages that run."""

    supervisor: Supervisor
    health: Health
    url: str
    """Where metrics and health are served."""
    ended: asyncio.Task[None]
    """Ends with the stages; raises what `Supervisor.run` raises."""


@contextlib.asynccontextmanager
async def running(
    settings: Settings,
    bootstrap: str,
    stages: Sequence[Stage],
    *,
    instance: int = 0,
    logs: Path | None = None,
    environment: Mapping[str, str] | None = None,
    grace_s: float = GRACE_S,
) -> AsyncIterator[Running]:
    """Run stages for the block; at its end, however it comes, none of their processes is left.

    Parameters
    ----------
    instance : int
        Number of these workers among those of their stages, when several run.
    logs : Path, optional
        Folder of the children's logs; None: stderr.
    environment : mapping, optional
        Variables for the children, over those of this process.

    Raises
    ------
    FatalError
        When the metrics' port is taken, or a stage cannot go on.
    """
    database = Database(settings.database_url)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(metrics_folder(settings.data_dir))
        supervisor = Supervisor(
            stages,
            environment={**(environment or {}), "GROUNDSWELL_KAFKA__BOOTSTRAP": bootstrap},
            logs=logs,
            metrics_dir=folder,
            command=lambda stage: [sys.executable, "-m", "pipeline.worker", stage, "--instance", str(instance)],
            grace_s=grace_s,
        )
        health = Health(folder, supervisor.status)
        server = HealthServer(health, settings.metrics.host, settings.metrics.port)
        stack.callback(server.close)
        ended = asyncio.create_task(supervisor.run())
        fresh = asyncio.create_task(keep_fresh(health, bootstrap, settings.kafka.prefix, database, stages))
        try:
            yield Running(supervisor, health, server.url, ended)
        finally:
            fresh.cancel()
            supervisor.stop()
            await asyncio.gather(fresh, ended, return_exceptions=True)
            await database.close()


async def ended_or(running: Running, work: asyncio.Task[None]) -> None:
    """Return when `work` is done; a stage that cannot go on ends the wait with its error.

    Raises
    ------
    FatalError
        Also when every stage has ended by itself before `work` was done.
    """
    done, _ = await asyncio.wait({running.ended, work}, return_when=asyncio.FIRST_COMPLETED)
    if work not in done:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        running.ended.result()
        raise FatalError("every stage ended before the work was done: their logs say why")
    work.result()


@contextlib.contextmanager
def metrics_folder(data_dir: Path) -> Iterator[Path]:
    """Yield a fresh folder for the children's metrics, and remove it afterwards, with those that a crash left."""
    above = data_dir / "metrics"
    above.mkdir(parents=True, exist_ok=True)
    for old in above.glob("run-*"):
        # The system releases the lock of a parent that was killed.
        if not is_locked(old / _LOCK):
            shutil.rmtree(old, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=above))
    with open_lock(folder / _LOCK) as lock:
        try_lock(lock)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def only_one(path: Path, otherwise: str) -> Iterator[None]:
    """Hold a lock file for the block; FatalError with `otherwise` when another process has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_lock(path) as lock:
        if not try_lock(lock):
            raise FatalError(otherwise)
        os.set_inheritable(lock, False)  # noqa: FBT003 (positional only)
        yield
