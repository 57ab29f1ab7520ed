"""`demo`: everything once, on the archive that ships."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.show import Screen
from pipeline.demo import Demo
from pipeline.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command("demo")(demo)


def demo(
    *,
    keep: Annotated[bool, typer.Option("--keep", help="Leave broker and stages running until Ctrl-C.")] = False,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="Keep the demo's state here.", show_default="<data_dir>/demo")
    ] = None,
) -> None:
    """Run everything once, on an archive that ships.

    Kafka, the stages and a local tracker, to a table of tickets. Needs nothing but this program; the first run
    fetches Kafka (44 MB). A second run finds the same tickets, and one
    that was interrupted goes on where it stopped.

    Example: groundswell demo

    Example: groundswell demo --keep
    """
    home = data_dir if data_dir is not None else Settings.load().data_dir / "demo"
    Demo(home.absolute(), Screen(), keep=keep).run()
