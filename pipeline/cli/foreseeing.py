"""`evaluate-early`: whether tickets and watches came before the versions that fixed the matter."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from pipeline.cli.evaluated import number, write_json
from pipeline.cli.screen import console, say, shown, table
from pipeline.cli.trying import Bar
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.evaluation.early import Early


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command("evaluate-early")(evaluate_early)


def evaluate_early(
    archive: Annotated[Path, typer.Argument(help="A .jsonl or .jsonl.gz file with time and version.")],
    changelog: Annotated[Path, typer.Argument(help='JSON: {app: [fixes of a version, as "words, words", …]}.')],
    *,
    app: Annotated[str, typer.Option("--app", help="Whose changelog.")],
    ran: Annotated[
        Path | None, typer.Option("--from", help="Folder of a dry run of this archive, in place of a new one.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Keep the dry run's files here.")] = None,
    all_kinds: Annotated[bool, typer.Option("--all-kinds", help="As of dry-run.")] = False,
    min_people: Annotated[int | None, typer.Option("--min-people", min=1, help="As of dry-run.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all figures here.")] = None,
    cache: Annotated[bool, typer.Option("--cache/--no-cache", help="Keep the texts' vectors.")] = True,
) -> None:
    """Measure how early tickets and watches come, on reviews of an app whose changelog is known.

    A fix is foreseen when a cluster about it had a ticket or a watch before its version appeared: at least a fifth of
    the cluster's messages until then hold two of the fix's keywords. "By chance" is how many would be foreseen if the
    fixes were dealt to the versions at random. Beside it the measure of IDEA (Gao et al., ICSE 2018), sentence labels.

    Example: groundswell evaluate-early viber.jsonl.gz changelog.json --app viber --json viber.json

    Example: groundswell evaluate-early viber.jsonl.gz changelog.json --app viber --from dry
    """
    from pipeline.dry_run import dry_run, load_reader, with_options
    from pipeline.evaluation.early_files import measure_dry_run, read_changelog
    from pipeline.trial_files import write_files

    lines = read_changelog(changelog, app)
    with ExitStack() as stack:
        folder = ran or out
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="groundswell-early-")))
        if ran is None:
            settings = with_options(Settings.load(), all_kinds=all_kinds, min_people=min_people)
            bar = stack.enter_context(Bar(f"dry run of {archive.name}"))
            result = asyncio.run(dry_run(settings, archive, load_reader(settings, cache=cache), bar))
            write_files(folder, result.tried)
        found = measure_dry_run(archive, folder, lines)
    _show(archive, app, found)
    if json_file is not None:
        write_json(json_file, {"data": str(archive), "app": app, **asdict(found)})


def _show(archive: Path, app: str, found: Early) -> None:
    grid = table("version", "out", "fix", ">days before", "by", "cluster")
    for one in found.fixes:
        lead = "-" if one.lead_days is None else f"{one.lead_days:.0f}"
        grid.add_row(
            shown(one.version), f"{one.out_at:%Y-%m-%d}", shown(one.fix), lead, shown(one.what or "-"),
            shown((one.cluster_id or "-")[:8]),
        )  # fmt: skip
    heading = f"{archive.name}, changelog of {app}: {len(found.fixes)} fixes in versions that people named"
    console().print(Text(heading, style="bold"), grid)
    days = "-" if found.median_lead_days is None else f"{found.median_lead_days:.0f} days before"
    say(
        f"ours: {found.foreseen} of {len(found.fixes)} foreseen ({found.by_chance:.1f} by chance), "
        f"{found.by_ticket} by a ticket; median {days}; {found.tickets} tickets, {found.watches} watches"
    )
    say(
        f"IDEA's: precision {number(found.idea_precision)}, recall {number(found.idea_recall)}, "
        f"F1 {number(found.idea_f1)}"
    )
