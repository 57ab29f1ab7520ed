"""Runs stages as child processes, restarts those that end themselves, and leaves none behind.

A stage that ends with 0 is done, with 78 only a person can help: everything stops and its message is raised. Any
other end is answered by a restart, sooner when the stage had lived for a while.

Ctrl-C reaches only the parent, since every child leads a process group of its own; a parent that is killed takes its
children along (`pipeline.lifeline`). The parent passes on what children write, and remembers its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from prometheus_client.multiprocess import mark_process_dead

from pipeline.background import in_daemon_thread
from pipeline.child_log import BoundedLog, Sink, Tail
from pipeline.errors import FatalError
from pipeline.lifeline import Lifeline

EXIT_DONE: Final = 0
EXIT_FATAL: Final = 78
"""sysexits' EX_CONFIG: a FatalError ended the stage."""
BACK_OFF_S: Final = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Waits before each restart in a row; the last one goes on."""
SETTLED_S: Final = 60.0
"""A stage that lived so long begins the back-off anew."""
GRACE_S: Final = 30.0
"""From SIGTERM to SIGKILL."""


@dataclass(frozen=True, slots=True)
class StageStatus:
    """One look at a stage."""

    stage: str
    pid: int | None
    """None while it does not run."""
    started: float
    """time.time() of the last start; 0 before the first."""
    restarts: int
    last_exit: int | None
    """Exit code of the last process that ended; negative for a signal."""


@dataclass(slots=True)
class _Stage:
    name: str
    child: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    restarts: int = 0
    last_exit: int | None = None
    tail: Tail = field(default_factory=Tail)
    pump: threading.Thread | None = None


def worker_command(stage: str) -> list[str]:
    """Return the command of a real stage."""
    return [sys.executable, "-m", "pipeline.worker", stage]


class Supervisor:
    """Children of this process, one for each stage.

    Parameters
    ----------
    environment : mapping
        Variables over those of this process, for every child.
    logs : Path, optional
        Folder for `<stage>.log`; None passes on to stderr.
    metrics_dir : Path, optional
        Where children keep their metrics' files (`PROMETHEUS_MULTIPROC_DIR`); it must exist.
    command : callable
        Stage to command line.
    back_off_s, grace_s
        As the constants; for tests.
    """

    def __init__(
        self,
        stages: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        logs: Path | None = None,
        metrics_dir: Path | None = None,
        command: Callable[[str], list[str]] = worker_command,
        back_off_s: Sequence[float] = BACK_OFF_S,
        grace_s: float = GRACE_S,
    ) -> None:
        self._stages = {name: _Stage(name) for name in stages}
        self._environment = dict(environment or {})
        self._logs = logs
        self._metrics_dir = metrics_dir
        self._command = command
        self._back_off_s = back_off_s
        self._grace_s = grace_s
        self._stopping = asyncio.Event()

    def status(self) -> list[StageStatus]:
        """Return how each stage stands, in the order they were named."""
        return [
            StageStatus(s.name, s.child.pid if s.child else None, s.started, s.restarts, s.last_exit)
            for s in self._stages.values()
        ]

    def stop(self) -> None:
        """Have `run` end everything and return. Call it on the event loop's thread."""
        self._stopping.set()

    async def run(self) -> None:
        """Run the stages until `stop`, or until each has ended with 0; no child is left when this returns or raises.

        Raises
        ------
        FatalError
            When a stage ended with 78: what it wrote last.
        """
        lifeline = Lifeline()
        keepers = [asyncio.create_task(self._keep(stage, lifeline)) for stage in self._stages.values()]
        stopped = asyncio.create_task(self._stopping.wait())
        try:
            pending = {*keepers, stopped}
            while not stopped.done() and any(not keeper.done() for keeper in keepers):
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            self._stopping.set()
            try:
                await self._end_all()
            finally:
                for task in (*keepers, stopped):
                    task.cancel()
                await asyncio.gather(*keepers, stopped, return_exceptions=True)
                lifeline.close()

    async def _keep(self, stage: _Stage, lifeline: Lifeline) -> None:
        """Start a stage, again and again, until it is done or all is stopped."""
        in_a_row = 0
        while not self._stopping.is_set():
            child = self._start(stage, lifeline)
            code = await in_daemon_thread(child.wait)
            lived_s = time.time() - stage.started
            await self._ended(stage, child, code)
            if code == EXIT_DONE or self._stopping.is_set():
                return
            if code == EXIT_FATAL:
                raise FatalError(f"stage {stage.name} cannot go on: {stage.tail.last_words(stage.name)}")
            in_a_row = 0 if lived_s >= SETTLED_S else in_a_row + 1
            with contextlib.suppress(TimeoutError):
                delay = self._back_off_s[min(max(in_a_row - 1, 0), len(self._back_off_s) - 1)]
                await asyncio.wait_for(self._stopping.wait(), delay)
            stage.restarts += 1

    def _start(self, stage: _Stage, lifeline: Lifeline) -> subprocess.Popen[bytes]:
        environment = {**os.environ, **self._environment, **lifeline.variables}
        if self._metrics_dir is not None:
            environment["PROMETHEUS_MULTIPROC_DIR"] = str(self._metrics_dir)
        child = subprocess.Popen(
            self._command(stage.name),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(lifeline.fd,),
            process_group=0,
        )
        stage.child, stage.started, stage.tail = child, time.time(), Tail()
        sink = BoundedLog(self._logs / f"{stage.name}.log") if self._logs is not None else sys.stderr.buffer
        assert child.stdout is not None
        stage.pump = threading.Thread(target=_pump, args=(child.stdout, sink, stage.tail), daemon=True, name="pump")
        stage.pump.start()
        return child

    async def _ended(self, stage: _Stage, child: subprocess.Popen[bytes], code: int) -> None:
        _signal_group(child.pid, signal.SIGKILL)
        stage.child, stage.last_exit = None, code
        if stage.pump is not None:
            pump = stage.pump
            # A second is plenty for what is in the pipe; only a grandchild in another group could hold it open.
            await in_daemon_thread(lambda: pump.join(1.0))
        if self._metrics_dir is not None:
            mark_process_dead(child.pid, str(self._metrics_dir))  # type: ignore[no-untyped-call]

    async def _end_all(self) -> None:
        """SIGTERM to each, SIGKILL to the group of what still runs after the grace."""
        running = [stage.child for stage in self._stages.values() if stage.child is not None]
        for child in running:
            child.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(self._grace_s):
                await asyncio.gather(*(in_daemon_thread(child.wait) for child in running))
        except TimeoutError:
            pass
        finally:
            # Reached on a second cancellation too.
            for child in running:
                _signal_group(child.pid, signal.SIGKILL)
        for child in running:
            await in_daemon_thread(child.wait)
        for stage in self._stages.values():
            if stage.child is not None:
                stage.last_exit, stage.child = stage.child.returncode, None


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _pump(source: BinaryIO, sink: Sink, tail: Tail) -> None:
    with source:
        for line in source:
            tail.add(line)
            # Whoever read our stderr may be gone; the stage must not stop because nobody listens.
            with contextlib.suppress(OSError, ValueError):
                sink.write(line)
                sink.flush()
    if isinstance(sink, BoundedLog):
        sink.close()
