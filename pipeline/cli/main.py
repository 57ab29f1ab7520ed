"""`groundswell`: how a command begins and how it ends.

Exit codes: 0 done; 1 a PipelineError, said in one red line; 2 wrong usage; 130 Ctrl-C; 143 SIGTERM. A stack trace is
shown only with GROUNDSWELL_DEBUG=1.

Imports next to nothing itself: the commands take two seconds to import, and Ctrl-C is to be answered during these too.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Final

EXIT_FAILED: Final = 1
EXIT_INTERRUPTED: Final = 128 + signal.SIGINT
DEBUG_VARIABLE: Final = "GROUNDSWELL_DEBUG"


def main(arguments: list[str] | None = None) -> None:
    """Run one command and leave with its exit code."""
    # As on Ctrl-C, the finally blocks run: nothing is left half done.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _terminated)
    try:
        _run(arguments)
    except KeyboardInterrupt:
        # A second one, while the first is still being answered, must not print a trace.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        sys.exit(EXIT_INTERRUPTED)


def _run(arguments: list[str] | None) -> None:
    from pipeline.cli.logs import log_for_people, quiet_libraries
    from pipeline.cli.program import app
    from pipeline.cli.screen import fail
    from pipeline.errors import PipelineError

    quiet_libraries()
    log_for_people()
    try:
        app(arguments)
    except PipelineError as exc:
        if _debugging():
            raise
        fail(str(exc))
        sys.exit(EXIT_FAILED)
    except Exception as exc:
        # The last door: a person is told how to see more.
        if _debugging():
            raise
        fail(f"internal error, please report it: {type(exc).__name__}: {exc} ({DEBUG_VARIABLE}=1 shows where)")
        sys.exit(EXIT_FAILED)


def _debugging() -> bool:
    return os.environ.get(DEBUG_VARIABLE, "") not in {"", "0"}


def _terminated(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    main()
