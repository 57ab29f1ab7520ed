"""`groundswell`: the commands, and how they end.

Exit codes: 0 done; 1 a PipelineError, said in one red line; 2 wrong usage; 130 Ctrl-C; 143 SIGTERM. A stack trace is
shown only with GROUNDSWELL_DEBUG=1.
"""

from __future__ import annotations

import os
import signal
import sys
from importlib.metadata import PackageNotFoundError, version
from types import FrameType
from typing import Annotated, Final

import typer

from pipeline.cli import checking, dead, deciding, demonstrating, publishing, reading, running, serving
from pipeline.cli.logs import log_for_people, quiet_libraries
from pipeline.cli.screen import fail
from pipeline.errors import PipelineError

EXIT_FAILED: Final = 1
EXIT_INTERRUPTED: Final = 128 + signal.SIGINT
EXIT_TERMINATED: Final = 128 + signal.SIGTERM
DEBUG_VARIABLE: Final = "GROUNDSWELL_DEBUG"

app = typer.Typer(
    name="groundswell",
    help="Find what a product's community keeps saying, and file it as issues.\n\nBegin with: groundswell demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(asked: bool) -> None:  # noqa: FBT001 (typer calls it so)
    if asked:
        try:
            found = version("groundswell")
        except PackageNotFoundError:
            found = "not installed"
        typer.echo(f"groundswell {found}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    del show_version


for _topic in (demonstrating, running, publishing, serving, reading, deciding, dead, checking):
    _topic.register(app)


def main(arguments: list[str] | None = None) -> None:
    """Run one command and leave with its exit code."""
    # Before anything that could be left half done: the finally blocks run, as on Ctrl-C.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _terminated)
    quiet_libraries()
    log_for_people()
    try:
        app(arguments)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except PipelineError as exc:
        _may_trace()
        fail(str(exc))
        sys.exit(EXIT_FAILED)
    except Exception as exc:  # noqa: BLE001 (the last door: a person is told how to see more)
        _may_trace()
        fail(f"internal error, please report it: {type(exc).__name__}: {exc} ({DEBUG_VARIABLE}=1 shows where)")
        sys.exit(EXIT_FAILED)


def _may_trace() -> None:
    if os.environ.get(DEBUG_VARIABLE, "") not in {"", "0"}:
        raise  # what is being handled


def _terminated(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    main()
