"""`evaluate-backlog`: how good proposed links to what people filed are, on issues whose duplicates are known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from pipeline.cli.screen import console, note, plain, print_json, say, table
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.evaluation.links import Links


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command("evaluate-backlog")(evaluate_backlog)


def evaluate_backlog(
    data: Annotated[
        Path, typer.Argument(help="A .jsonl or .jsonl.gz file with `text`, `body`, `label`.", show_default=False)
    ],
    *,
    messages: Annotated[
        int, typer.Option("--messages", min=1, help="Messages that speak together; 1: each issue for itself.")
    ] = 1,
    cache: Annotated[bool, typer.Option("--cache/--no-cache", help="Keep the texts' vectors.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """Measure the links that are proposed to what people filed, with tf-idf beside.

    `label` names the group of issues that say the same, `text` is a summary, `body` a description. Each issue of a
    group is asked with, all others are the tracker; the likest is proposed from a threshold on: the setting
    policy.backlog.propose, and one that is chosen on one half of the groups (by their hash) and measured on the other.

    Example: groundswell evaluate-backlog gitbugs_hadoop.jsonl.gz

    With --messages N, the middle of N messages of a group is asked with, as of a cluster, and the tracker holds one
    other message of every second group; six draws.

    Example: groundswell evaluate-backlog banking77.jsonl.gz --messages 10
    """
    # Imported here: they take the model along, seconds that only this command should pay.
    from pipeline.dry_run import lazy_embedder
    from pipeline.evaluation import links

    settings = Settings.load()
    note("reading")
    issues = links.read_issues(data, lazy_embedder(settings, cache=cache))
    answers = links.ask_with_each(issues) if messages == 1 else links.ask_with_clusters(issues, messages)
    default = settings.policy.backlog.propose
    likeness, words = answers["likeness"], answers["tf-idf"]
    rows: list[tuple[str, str, Links]] = []
    for half in (0, 1, None):
        which = "all" if half is None else f"half {half}"
        same = links.as_many(words, likeness, default, half)
        rows.append(("likeness", f"the setting, {which}", links.measure(likeness, default, half)))
        rows.append(("tf-idf", f"as many links, {which}", links.measure(words, same, half)))
        if half is None:
            continue
        for way, found in answers.items():
            chosen = links.choose(found, 1 - half)
            rows.append((way, f"chosen on half {1 - half}, {which}", links.measure(found, chosen, half)))
    if as_json:
        print_json([{"way": way, "which": which, "links": one} for way, which, one in rows])
        return
    groups = len({label for label in issues.gold if label is not None})
    console().print(Text(f"{plain(data.name)}: {len(issues.texts):,} texts, {groups} groups of two or more", "bold"))
    grid = table(
        "way", "threshold, measured on", ">at", ">filed", ">precision", ">recall", ">others", ">proposed", ">balanced",
        ">strict",
    )  # fmt: skip
    for way, which, one in rows:
        grid.add_row(
            way, which, f"{one.threshold:.3f}", f"{one.filed:,}", _share(one.precision), _share(one.recall),
            f"{one.others:,}", _share(one.proposed), _share(one.precision_balanced), _share(one.precision_strict),
        )  # fmt: skip
    console().print(grid)
    say(
        "precision, recall: of what is known to be filed. others: of which nothing filed is known, and for what share "
        "of them a link is proposed. balanced: precision if every second one were filed. strict: every link for the "
        "others counted as wrong, duplicates that nobody noted among them"
    )


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
