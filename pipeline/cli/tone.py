"""`tone`: the mood of a space or a cluster over time."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from pipeline.cli.context import with_database
from pipeline.cli.screen import console, print_json, say, table
from pipeline.settings import Settings
from pipeline.store.database import Database
from pipeline.store.tone import Tone
from pipeline.store.tone import tone as tone_of

_BARS = "▁▂▃▄▅▆▇█"
_ROWS = 26


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command("tone")(tone)


def tone(
    cluster: Annotated[
        str | None,
        typer.Argument(help="Number (12 or '#12'), id, or ticket key.", show_default="the whole space"),
    ] = None,
    *,
    by: Annotated[Literal["day", "week"], typer.Option("--by", help="Length of a period.")] = "week",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """Show the mood over time: praise less complaint, from -1 to 1, each person once a period.

    Smoothed over the neighbouring periods; the band holds the true mean in 95 of 100.

    Example: groundswell tone

    Example: groundswell tone 12 --by day --json
    """
    settings = Settings.load()

    async def ask(database: Database) -> list[Tone]:
        if cluster is None:
            return await tone_of(database, settings.space, None, by)
        # Imported here: it takes scikit-learn along, seconds that only this case should pay.
        from pipeline.store.explain import find_cluster

        return await tone_of(database, settings.space, await find_cluster(database, settings.space, cluster), by)

    found = with_database(settings, ask)
    if as_json:
        print_json(found)
    elif found:
        _print(found, by)
    else:
        say(f"nobody has said anything in space {settings.space} yet; `groundswell status` shows what has arrived")


def _print(found: list[Tone], by: str) -> None:
    low, high = min(one.tone for one in found), max(one.tone for one in found)
    say(f"{sparkline([one.tone for one in found])}  {low:+.2f} to {high:+.2f}, {len(found)} {by}s")
    grid = table(by, ">people", ">tone", ">band")
    for one in found[-_ROWS:]:
        grid.add_row(one.start.isoformat(), str(one.people), f"{one.tone:+.2f}", f"{one.low:+.2f} to {one.high:+.2f}")
    console().print(grid)
    if len(found) > _ROWS:
        say(f"the last {_ROWS} of {len(found)}; --json gives all")


def sparkline(values: list[float]) -> str:
    """Return one bar a value, from the least to the greatest; all in the middle when they are equal."""
    low, high = min(values), max(values)
    top = len(_BARS) - 1
    return "".join(_BARS[round((value - low) / (high - low) * top) if high > low else top // 2] for value in values)
