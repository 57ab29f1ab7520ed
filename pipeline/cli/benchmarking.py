"""`bench`: how fast the walk is, and its core."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer

from pipeline.cli.running import broker_for_run
from pipeline.cli.screen import console, note, say, table
from pipeline.demo import shipped_archive
from pipeline.settings import Settings

MEMORY_MESSAGES: Final = 50_000
MEMORY_DIMENSIONS: Final = 384


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command("bench")(bench)


def bench(
    *,
    archive: Annotated[
        Path | None, typer.Argument(help="Texts to measure on.", show_default="the shipped archive")
    ] = None,
    messages: Annotated[int, typer.Option("--messages", min=300, help="How many different texts at most.")] = 5_000,
    memory: Annotated[
        bool, typer.Option("--memory", help="Measure bytes instead: database and owner, 50,000 synthetic messages.")
    ] = False,
    assign: Annotated[
        bool, typer.Option("--assign", help="Measure how fast messages find their cluster among 20,000 live ones.")
    ] = False,
    fits: Annotated[
        int | None,
        typer.Option(
            "--fits", min=13_000, help="Measure re-clustering of 13,000, 20,000, 50,000, ... messages, up to so many."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Measure messages per second, as a ratio to the model alone on the same texts in the same run.

    Loading the models is left out: a worker does it once in its life. Uses topics and a database of its own, and
    removes them. Stop other work first.

    Example: groundswell bench archive.jsonl.gz --messages 5000

    Example: groundswell bench --memory

    Example: groundswell bench --assign

    Example: groundswell bench --fits 50000
    """
    if memory + assign + (fits is not None) > 1:
        raise typer.BadParameter("--memory, --assign and --fits each measure something else: name one")
    if assign:
        _assign(Settings.load(), as_json=as_json)
        return
    if fits is not None:
        _fits(Settings.load(), fits, as_json=as_json)
        return
    if memory:
        _memory(Settings.load(), as_json=as_json)
        return
    from pipeline.bench import bench as measure

    settings = Settings.load()
    with broker_for_run(settings) as bootstrap:
        result = asyncio.run(measure(settings, bootstrap, archive or shipped_archive(), messages, note))
    if as_json:
        ratios = {"embed_ratio": result.embed_ratio, "end_to_end_ratio": result.end_to_end_ratio}
        say(json.dumps(asdict(result) | ratios))
        return
    say(f"{result.messages:,} messages")
    say(
        f"model alone   {result.bare_per_s:8.1f}/s  (batch {result.batch_size}; {result.bare_before_per_s:.1f} before, "
        f"{result.bare_after_per_s:.1f} after)"
    )
    say(f"embed stage   {result.embed_per_s:8.1f}/s  {result.embed_ratio:.2f} of the model alone")
    say(f"end to end    {result.end_to_end_per_s:8.1f}/s  {result.end_to_end_ratio:.2f} of the model alone")


def _memory(settings: Settings, *, as_json: bool) -> None:
    from pipeline.bench_memory import measure

    result = asyncio.run(measure(MEMORY_MESSAGES, MEMORY_DIMENSIONS, settings.clusters.fold(), note))
    if as_json:
        ratios = {"database_per_million": result.database_per_million, "kept_per_message": result.kept_per_message}
        say(json.dumps(asdict(result) | ratios))
        return
    say(f"{result.messages:,} messages, vectors of {result.dimensions}, window {settings.clusters.window:,}")
    say(f"database      {result.database_per_million / 1e9:.2f} GB a million messages, and it grows with each")
    say(
        f"owner         {result.kept_bytes / 1e6:.0f} MB for the {result.kept_messages:,} messages of the window and "
        f"the pool, {result.kept_per_message:,} bytes each; none for older ones"
    )


def _assign(settings: Settings, *, as_json: bool) -> None:
    from pipeline.bench_core import BATCH, assign_rate

    result = assign_rate(settings.clusters.fold())
    if as_json:
        say(json.dumps(asdict(result)))
        return
    say(f"{result.clusters:,} live clusters, {result.joined:,} of {result.messages:,} messages joined one")
    say(f"in batches of {BATCH}  {result.batch_per_s:8,.0f} messages/s on one thread")
    say(f"one by one         {result.single_per_s:8,.0f} messages/s")
    say(f"load average       {result.load:8.2f}")


def _fits(settings: Settings, most: int, *, as_json: bool) -> None:
    from models.clusterer import DensityClusterer
    from pipeline.bench_core import FIT_SIZES, fit_times

    clusterer = DensityClusterer(min_cluster_size=settings.clusters.min_cluster_size)
    results = fit_times(clusterer, [size for size in FIT_SIZES if size <= most], note)
    if as_json:
        say(json.dumps([asdict(result) for result in results]))
        return
    grid = table(">messages", ">seconds", ">groups", ">load average")
    for result in results:
        grid.add_row(f"{result.messages:,}", f"{result.seconds:.1f}", f"{result.groups:,}", f"{result.load:.2f}")
    console().print(grid)
