"""The program: all commands put together."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

from pipeline.cli import (
    benchmarking,
    checking,
    correcting,
    dead,
    deciding,
    demonstrating,
    evaluating,
    evaluating_links,
    foreseeing,
    kinds,
    publishing,
    reading,
    rebuilding,
    running,
    serving,
    ticketing,
    tone,
    trying,
)

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


for _topic in (
    demonstrating,
    trying,
    evaluating,
    evaluating_links,
    foreseeing,
    running,
    publishing,
    serving,
    reading,
    deciding,
    correcting,
    ticketing,
    dead,
    checking,
    rebuilding,
    benchmarking,
    kinds,
    tone,
):
    _topic.register(app)
