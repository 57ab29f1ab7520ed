"""`evaluate`: how good the tickets are, on messages whose groups are known."""

from __future__ import annotations

import json
import math
import tempfile
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from pipeline.cli.screen import console, note, plain, say, table
from pipeline.errors import FatalError
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.evaluation.measures import Measures
    from pipeline.evaluation.streams import Outcome

_COLUMNS = {
    "ticket_f1": "F1",
    "precision": "prec",
    "recall": "rec",
    "duplicates": "dup",
    "tickets": "tickets",
    "false_tickets": "false",
    "pure_at_opening": "pure",
    "delay_median": "delay",
    "delay_p90": "p90",
    "coverage": "cover",
    "noise_rejected": "noise",
    "ari": "ARI",
    "ami": "AMI",
}


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command("evaluate")(evaluate)


def evaluate(
    data: Annotated[Path, typer.Argument(help="A .jsonl or .jsonl.gz file with `label`.", show_default=False)],
    *,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Shuffles; the median is shown.")] = 3,
    threshold: Annotated[int, typer.Option("--threshold", min=2, help="T: messages that make a ticket.")] = 10,
    baselines: Annotated[bool, typer.Option("--baselines/--no-baselines", help="Plain ways beside.")] = True,
    batch: Annotated[bool, typer.Option("--batch/--no-batch", help="One fit over everything beside.")] = True,
    noise_label: Annotated[
        str, typer.Option("--noise-label", help="Label of what is of no group, as null is.")
    ] = "noise",
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all figures here.")] = None,
    map_file: Annotated[Path | None, typer.Option("--map", help="Draw the messages here, by cluster (PNG).")] = None,
    curve_file: Annotated[
        Path | None, typer.Option("--curve", help="Draw here what more people needed costs and gains (PNG).")
    ] = None,
    cache: Annotated[bool, typer.Option("--cache/--no-cache", help="Keep the texts' vectors.")] = True,
) -> None:
    """Measure the tickets on messages whose groups are known.

    The path of `dry-run`, with all kinds, T people needed and no settling; each message is its own author's, shuffled.
    A ticket is right when 70 % of its messages are of one group of T or more, when it opens and at the end; the first
    of a group counts. F1 = 2 x groups rightly ticketed / (tickets + groups). Delay: messages of a group seen when its
    ticket opened, in multiples of T; without one it is infinite.

    Example: groundswell evaluate banking77.jsonl.gz

    Example: groundswell evaluate data.jsonl --seeds 1 --no-baselines --json figures.json --map map.png
    """
    from pipeline.dry_run import load_reader
    from pipeline.evaluation import streams

    settings = streams.for_stream(Settings.load(), threshold)
    screen = console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    rows: dict[str, Measures] = {}
    with (
        Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as bar,
        tempfile.TemporaryDirectory(prefix="groundswell-evaluate-") as folder,
    ):
        task = bar.add_task("reading")
        reader = load_reader(settings, cache=cache)
        read = streams.read_data(
            data, reader, noise_label, lambda n, of: bar.update(task, description=f"read {n:,} of {of:,} messages")
        )
        finished: list[Outcome] = []

        def done(outcome: Outcome) -> None:
            finished.append(outcome)
            bar.update(task, description=f"{len(finished)} of {seeds} shuffles done")

        bar.update(task, description=f"{seeds} shuffles")
        outcomes = streams.run_streams(read, settings, threshold, range(seeds), Path(folder), done)
        if batch:
            bar.update(task, description="one fit over everything")
            rows["batch"] = streams.run_batch(read, settings, threshold)
        if baselines:
            bar.update(task, description="plain ways")
            rows |= streams.run_baselines(read, threshold, 0, note)
        if map_file is not None or curve_file is not None:
            from pipeline.evaluation import pictures

            bar.update(task, description="pictures")
            if map_file is not None:
                pictures.draw_map(map_file, read, settings)
            if curve_file is not None:
                pictures.draw_curve(curve_file, pictures.curve(read, settings, threshold, Path(folder)))
    figures = _figures(data, threshold, outcomes, rows)
    _print(data, threshold, outcomes, rows)
    if json_file is not None:
        try:
            json_file.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
        except OSError as exc:
            raise FatalError(f"cannot write {json_file}: {exc.strerror or exc}") from exc


def _figures(data: Path, threshold: int, outcomes: list[Outcome], rows: dict[str, Measures]) -> dict[str, Any]:
    return {
        "data": str(data),
        "threshold": threshold,
        "streaming": {name: _middle(outcomes, name) for name in _COLUMNS}
        | {
            "moved": median(one.moved for one in outcomes),
            "to_pool": median(one.to_pool for one in outcomes),
            "seconds": median(one.seconds for one in outcomes),
        },
        "streams": [_jsonable(asdict(one)) for one in outcomes],
        **{name: _jsonable(asdict(row)) for name, row in rows.items()},
    }


def _middle(outcomes: list[Outcome], name: str) -> float | None:
    found = [getattr(one.measures, name) for one in outcomes]
    known = [value for value in found if value is not None]
    return _jsonable(median(known)) if known else None


def _jsonable(value: Any) -> Any:
    """Infinite delays are no JSON."""
    if isinstance(value, dict):
        return {name: _jsonable(one) for name, one in value.items()}
    return None if isinstance(value, float) and math.isinf(value) else value


def _print(data: Path, threshold: int, outcomes: list[Outcome], rows: dict[str, Measures]) -> None:
    grid = table("", *(f">{title}" for title in _COLUMNS.values()))
    middle = {name: [getattr(one.measures, name) for one in outcomes] for name in _COLUMNS}
    grid.add_row(
        f"streaming, median of {len(outcomes)}",
        *(_number(median(values)) if None not in values else "-" for values in middle.values()),
    )
    for outcome in outcomes:
        grid.add_row(f"  seed {outcome.seed}", *(_number(getattr(outcome.measures, name)) for name in _COLUMNS))
    for title, row in rows.items():
        late = {"delay_median", "delay_p90"}
        grid.add_row(title, *("-" if name in late else _number(getattr(row, name)) for name in _COLUMNS))
    groups = outcomes[0].measures.groups
    heading = f"{plain(data.name)}: {groups} groups of {threshold} messages or more; delays in multiples of {threshold}"
    console().print(Text(heading, style="bold"), grid)
    say(
        f"messages of ticketed clusters, per fit: {median(one.moved for one in outcomes):.3f} moved outside merges and "
        f"splits, {median(one.to_pool for one in outcomes):.3f} back to the pool; "
        f"{median(one.seconds for one in outcomes):.0f} s a stream"
    )


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    return "inf" if math.isinf(value) else f"{value:.3f}"
