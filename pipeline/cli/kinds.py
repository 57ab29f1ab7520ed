"""`evaluate-kinds`: how good the kinds are, against messages labelled twice by a language model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.text import Text

from models.kind_names import KINDS
from pipeline.cli.screen import console, note, print_json, say, table
from pipeline.errors import FatalError
from pipeline.settings import Settings

if TYPE_CHECKING:
    from models.kind_quality import Quality
    from pipeline.kind_corrections import Gains
    from pipeline.kind_gold import Scores


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command("evaluate-kinds")(evaluate_kinds)


def evaluate_kinds(
    gold: Annotated[
        Path,
        typer.Argument(help="JSON lines with data_set, id, label_1 and label_2.", show_default=False),
    ],
    *,
    data: Annotated[
        Path, typer.Option("--data", help="Folder with the texts, DATA_SET.jsonl or .jsonl.gz.", show_default=False)
    ],
    half: Annotated[
        Literal["dev", "test", "all"],
        typer.Option("--half", help="Score only one half of the gold; compare variants on dev alone."),
    ] = "all",
    corrections: Annotated[
        int | None,
        typer.Option("--corrections", min=1, help="Take so many of the dev half as corrections, score its rest."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """Measure the kinds (complaint, idea, question, praise, other) on labelled messages.

    Scored against what both readings say, and against each. The labels that
    ship are a language model's, not people's. No text is shown.

    Example: groundswell evaluate-kinds tests/gold/kinds.jsonl --data ../shared/data

    With --corrections, what people's corrections would bring: messages of the dev half are given to the classifier
    as if people had corrected them, the others are scored before and after; five shuffles, each data set a platform.

    Example: groundswell evaluate-kinds tests/gold/kinds.jsonl --data ../shared/data --half test --json

    Example: groundswell evaluate-kinds tests/gold/kinds.jsonl --data ../shared/data --corrections 200
    """
    # Imported here: they take the models along, seconds that only this command should pay.
    from models.embedder import ModelFilesError, SentenceEmbedder
    from models.kinds import train_kinds
    from pipeline.kind_corrections import simulate
    from pipeline.kind_gold import read_gold, read_texts, score

    if corrections is not None and half == "test":
        raise typer.BadParameter("--corrections learns from the dev half and is scored on it: leave --half out")
    settings = Settings.load()
    labelled = read_gold(gold)
    texts = read_texts(labelled, data)
    note(f"reading {len(texts)} messages")
    try:
        embedder = SentenceEmbedder.load(settings.model.name, settings.model.sha256, threads=settings.model.threads)
    except ModelFilesError as exc:
        raise FatalError(str(exc)) from exc
    if corrections is not None:
        note("refitting five times")
        gains = simulate(labelled, texts, embedder, corrections)
        if as_json:
            print_json(gains)
        else:
            _print_gains(gains)
        return
    found = score(labelled, texts, embedder, train_kinds(embedder), half)
    if as_json:
        print_json(found)
    else:
        _print(found)


def _print_gains(gains: Gains) -> None:
    say(f"{gains.corrections} messages of the dev half as corrections, the other {gains.scored} scored")
    grid = table("classifier", ">macro-F1", ">lowest", ">highest", ">accuracy", ">ECE")
    for name, gain in gains.variants.items():
        f1 = gain.macro_f1
        values = (sum(f1) / len(f1), min(f1), max(f1), sum(gain.accuracy) / len(f1), sum(gain.ece) / len(f1))
        grid.add_row(name, *(f"{value:.3f}" for value in values))
    console().print(grid)
    say(f"mean of {len(f1)} shuffles; at most {max(gains.fit_s):.1f} s of CPU a refit")


def _print(found: Scores) -> None:
    say(f"labellers: kappa {found.kappa:.2f}; one scored against the other: macro-F1 {found.person:.2f}")
    grid = table("against", ">messages", ">macro-F1", ">95 %", ">accuracy", ">ECE", ">complaint P at R ≥ .65*")
    rows = {"both agreeing": found.agreed, "labeller 1": found.first, "labeller 2": found.second}
    rows |= {f"  {name}": quality for name, quality in found.sets.items()}
    for name, quality in rows.items():
        low, high = quality.interval
        grid.add_row(
            name,
            str(quality.messages),
            f"{quality.macro_f1:.3f}",
            f"{low:.2f}-{high:.2f}",
            f"{quality.accuracy:.3f}",
            f"{quality.ece:.3f}",
            next((f"{one.precision:.3f}" for one in quality.complaint if one.at_recall == 0.65), "-"),
        )
    console().print(grid)
    say("* the threshold chosen on the very messages: what ranking allows")
    if (complaint := found.complaint) is not None:
        chosen = complaint.chosen
        say(
            f"complaints on the test half, from p ≥ {chosen.threshold:.2f} on, as the dev half chose it (there P "
            f"{chosen.precision:.3f} at R {chosen.recall:.2f}): P {complaint.precision:.3f} at R {complaint.recall:.2f}"
        )
    say("")
    _print_kinds(found.agreed)


def _print_kinds(quality: Quality) -> None:
    """Print what the classifier does with each kind, where both labellers agree."""
    grid = table("kind", ">P", ">R", ">F1", ">labelled", *(f">as {kind}" for kind in KINDS))
    for kind, counts in zip(KINDS, quality.confusion, strict=True):
        one = quality.kinds[kind]
        grid.add_row(
            kind, f"{one.precision:.2f}", f"{one.recall:.2f}", f"{one.f1:.2f}", str(one.labelled), *map(str, counts)
        )
    console().print(Text("each kind, where both agree", style="bold"), grid, "")
    points = table("kind", ">recall wanted", ">at p ≥", ">P", ">R")
    for kind, curve in (("complaint", quality.complaint), ("idea", quality.idea)):
        for point in curve:
            points.add_row(
                kind,
                f"{point.at_recall:.2f}",
                f"{point.threshold:.2f}",
                f"{point.precision:.2f}",
                f"{point.recall:.2f}",
            )
        acting = quality.acting[kind]
        points.add_row(kind, "as it acts", "", f"{acting.precision:.2f}", f"{acting.recall:.2f}")
    console().print(Text("operating points", style="bold"), points)
