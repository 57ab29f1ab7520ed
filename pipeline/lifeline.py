"""A child ends when its parent does, also when the parent is killed and can say nothing.

The parent keeps the only writing end of a pipe and never writes; the child inherits the reading end. The system
closes the writing end with the parent, however it ends, and the child reads the end of the file.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import Final

VARIABLE: Final = "GROUNDSWELL_LIFELINE"
"""Names to the child the file descriptor of the pipe's reading end."""


class Lifeline:
    """The parent's end: hand `fd` to each child by `pass_fds`, and `variables` in its environment."""

    def __init__(self) -> None:
        # Neither end is inherited by a child that is not given it: a copy of the writing end would outlive us.
        self.fd, self._kept = os.pipe()

    @property
    def variables(self) -> dict[str, str]:
        """What the child's environment needs."""
        return {VARIABLE: str(self.fd)}

    def close(self) -> None:
        """Cut it: every child that still runs ends at once."""
        os.close(self._kept)
        os.close(self.fd)


def end_with_parent() -> None:
    """End this process, and those that it started, as soon as the parent is gone. Call once, at start.

    Does nothing when no parent gave a lifeline. The end is a hard one, exit code 0 or SIGKILL: nobody is left to
    read it, and a stage loses nothing by it.
    """
    value = os.environ.get(VARIABLE, "")
    if not value.isdecimal():
        return
    fd = int(value)
    # What this process starts has no thread that reads it.
    os.set_inheritable(fd, False)  # noqa: FBT003 (positional only)
    threading.Thread(target=_watch, args=(fd,), daemon=True, name="lifeline").start()


def _watch(fd: int) -> None:
    while os.read(fd, 1):
        pass
    if os.getpgrp() == os.getpid():
        # Leader of a group of its own: helpers (a fit's process) are in it and must not stay behind.
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(0)
