"""`evaluate`: how good the tickets are, on messages whose groups are known."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from pipeline.cli import evaluated
from pipeline.cli.planting import evaluate_planted
from pipeline.cli.screen import console, note
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.evaluation.measures import Measures
    from pipeline.evaluation.streams import Outcome


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
    manager: Annotated[
        int, typer.Option("--manager", min=0, help="Again, with so many answers of a simulated manager at most.")
    ] = 0,
    planted: Annotated[
        Path | None,
        typer.Option("--planted", help="Plant groups of the data into this archive of chatter, and run that."),
    ] = None,
    cache: Annotated[bool, typer.Option("--cache/--no-cache", help="Keep the texts' vectors.")] = True,
) -> None:
    """Measure the tickets on messages whose groups are known.

    The path of `dry-run`, with all kinds, T people needed and no settling; each message is its own author's, shuffled.
    A ticket is right when 70 % of its messages are of one group of T or more, when it opens and at the end; the first
    of a group counts. F1 = 2 x groups rightly ticketed / (tickets + groups). Delay: messages of a group seen when its
    ticket opened, in multiples of T; without one it is infinite.

    Example: groundswell evaluate banking77.jsonl.gz

    With --manager, the same shuffles once more while somebody who knows the groups answers what the board asks:
    merge, separate, split, not-feedback, as commands like any person's.

    With --planted, 40 groups of 15 messages of the data come as bursts in the chatter of a real community, with
    authors and times, and all goes through a dry run under the settings as they are, kinds and all. Every other
    ticket that opens is listed with three quotes.

    Example: groundswell evaluate banking77.jsonl.gz --manager 30

    Example: groundswell evaluate dstc11.jsonl.gz --planted chat.jsonl.gz --json planted.json

    Example: groundswell evaluate data.jsonl --seeds 1 --no-baselines --json figures.json --map map.png
    """
    from pipeline.dry_run import load_reader
    from pipeline.evaluation import streams
    from pipeline.evaluation.reading import read_data

    if planted is not None:
        if manager or map_file is not None or curve_file is not None:
            raise typer.BadParameter("goes with --seeds, --threshold, --json and --no-cache", param_hint="--planted")
        evaluate_planted(data, planted, Settings.load(), threshold, seeds, json_file, cache=cache)
        return
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
        read = read_data(
            data, reader, noise_label, lambda n, of: bar.update(task, description=f"read {n:,} of {of:,} messages")
        )
        runs = seeds * (2 if manager else 1)
        finished: list[Outcome] = []

        def done(outcome: Outcome) -> None:
            finished.append(outcome)
            bar.update(task, description=f"{len(finished)} of {runs} streams done")

        bar.update(task, description=f"{runs} streams")
        answers = (0, manager) if manager else (0,)
        run = streams.run_streams(read, settings, threshold, range(seeds), Path(folder), done, answers)
        outcomes, answered = run[:seeds], run[seeds:]
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
    evaluated.say_left_out(data, read.left_out)
    evaluated.show(data, threshold, outcomes, answered, rows)
    if json_file is not None:
        evaluated.write_json(json_file, evaluated.figures(data, threshold, outcomes, answered, rows, read.left_out))
