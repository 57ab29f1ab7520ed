"""Processes: locks that the system releases when their holder ends, command lines, children."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def try_lock(fd: int) -> bool:
    """Lock the open file for this process and those that inherit `fd`; False if somebody else has it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_locked(path: Path) -> bool:
    """Whether a living process holds the lock."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        # Shared, so that two who ask do not take each other for the holder.
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


@contextlib.contextmanager
def open_lock(path: Path) -> Iterator[int]:
    """The lock file's descriptor, not yet locked; a child that inherits it keeps the lock after the block."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def hold(path: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold the lock for the block, however long it takes to get; `on_wait` is called if there is a wait."""
    with open_lock(path) as fd:
        if not try_lock(fd):
            on_wait()
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def ended_on_error(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """Kill the child if the block ends in any exception, Ctrl-C included; leave it running otherwise."""
    try:
        yield
    except BaseException:
        child.kill()
        child.wait()
        raise


def command_line(pid: int) -> str:
    """Command line of a process; empty if there is no such process or it is not ours to see."""
    if Path("/proc/self/cmdline").exists():
        with contextlib.suppress(OSError):
            return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).replace("\0", " ")
        return ""
    ps = ["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)]
    return subprocess.run(ps, capture_output=True, text=True, check=False).stdout
