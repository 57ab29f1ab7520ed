"""`dry-run`: the tickets that these settings would have made on an archive."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from pipeline.cli.screen import console, note, print_json, say, shown, table
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.dry_run import DryRun, Reading
    from pipeline.trial_files import Comparison, Filed
    from pipeline.tried import TriedTicket


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command("dry-run")(dry_run)


class Bar:
    """See `pipeline.dry_run.Progress`."""

    def __init__(self, what: str) -> None:
        screen = console(stderr=True)
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[found]}", markup=False),
            TimeElapsedColumn(),
        )
        self._progress = Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal)
        self._task: TaskID = self._progress.add_task(what, total=None, found="")

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def begin(self, lines: int) -> None:
        """See `Progress.begin`."""
        self._progress.update(self._task, total=lines)

    def update(self, lines: int, tickets: int) -> None:
        """See `Progress.update`."""
        self._progress.update(self._task, completed=lines, found=f"lines, {tickets} tickets")


def dry_run(
    archive: Annotated[Path, typer.Argument(help="A .jsonl or .jsonl.gz file.", show_default=False)],
    *,
    out: Annotated[Path, typer.Option("--out", help="Folder for assignments.jsonl and tickets.jsonl.")],
    compare: Annotated[
        Path | None, typer.Option("--compare", help="Folder of an earlier dry run: show what is different now.")
    ] = None,
    all_kinds: Annotated[
        bool, typer.Option("--all-kinds", help="Let questions and all the rest make tickets too.")
    ] = False,
    min_people: Annotated[
        int | None, typer.Option("--min-people", min=1, help="In place of policy.min_people.", show_default=False)
    ] = None,
    cache: Annotated[
        bool,
        typer.Option("--cache/--no-cache", help="Keep the texts' vectors in the cache folder: next time is quick."),
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the tickets as JSON in place of the table.")] = False,
) -> None:
    """Find out which tickets these settings would have made on an archive.

    The same folding, policy and ticket text as live, as in mode "auto"; without a broker, a database or a tracker,
    and nothing is filed. Settings come from groundswell.toml and GROUNDSWELL_* as always.

    One JSON object a line: id, text; if known also time (else a line is a second), author (else each message has its
    own), source, channel, reply_to. The order of the file is the order of arrival.

    Example: groundswell dry-run history.jsonl.gz --out before

    Example: GROUNDSWELL_CLUSTERS__HOLD=0.6 groundswell dry-run history.jsonl.gz --out after --compare before

    Example: groundswell dry-run tickets.jsonl --out all --all-kinds --min-people 10
    """
    from pipeline.dry_run import dry_run as run
    from pipeline.dry_run import load_reader, with_options
    from pipeline.trial_files import compare as compared
    from pipeline.trial_files import read_tickets, write_files

    settings = with_options(Settings.load(), all_kinds=all_kinds, min_people=min_people)
    earlier = read_tickets(compare) if compare is not None else None
    with Bar(f"dry run of {archive.name}") as bar:
        result = asyncio.run(run(settings, archive, load_reader(settings, cache=cache), bar))
    write_files(out, result.tried)
    if as_json:
        print_json([_summary(ticket) for ticket in result.tried.tickets])
    else:
        _report(archive, result, out)
    if compare is not None and earlier is not None:
        _print_comparison(compared(earlier, read_tickets(out)), compare)


def _summary(ticket: TriedTicket) -> dict[str, object]:
    return {
        "cluster_id": ticket.cluster_id,
        "kind": ticket.kind,
        "summary": ticket.summary,
        "opened_at": ticket.opened_at,
        "opened_after": ticket.opened_after,
        "authors": ticket.authors,
        "messages": ticket.messages,
        "platforms": ticket.platforms,
        "reason": ticket.reason,
        "merged_into": ticket.merged_into,
    }


def _report(archive: Path, result: DryRun, out: Path) -> None:
    tried = result.tried
    grid = table("opened at", ">after", "kind", "summary", ">people", ">messages", "on", "cluster")
    for ticket in tried.tickets:
        merged = f", merged into {ticket.merged_into[:8]}" if ticket.merged_into else ""
        grid.add_row(
            f"{ticket.opened_at:%Y-%m-%d %H:%M}" if result.reading.timed else "-",
            f"{ticket.opened_after:,}",
            shown(ticket.kind),
            shown(ticket.summary, 80),
            f"{ticket.authors:,}",
            f"{ticket.messages:,}",
            shown(", ".join(ticket.platforms), 40),
            shown(f"{ticket.cluster_id[:8]}{merged}"),
        )
    count = len(tried.tickets)
    heading = f"{count} ticket{'' if count == 1 else 's'} from {len(tried.assignments):,} messages"
    console().print(Text(heading, style="bold"), *([grid] if count else []))
    clustered = sum(one.cluster_id is not None for one in tried.assignments)
    aside = sum(one.status == "aside" for one in tried.assignments)
    clusters = len({one.cluster_id for one in tried.assignments} - {None})
    say(f"{clustered:,} messages in {clusters:,} clusters, {aside:,} set aside. Written to {out}")
    _print_reading(archive, result.reading)


def _print_reading(archive: Path, reading: Reading) -> None:
    for text in reading.notes:
        note(text)
    if not reading.timed:
        note(f"{archive}: no times: a line counts as a second; policy.settle and the guard against raids are left out")
    if reading.late:
        note(f"{archive}: {reading.late:,} lines have a time before that of an earlier line; taken in the file's order")
    if reading.refusals:
        say(f"{reading.refusals:,} lines could not be used:", style="yellow")
        for where, reason in reading.refused:
            say(f"  {where}: {reason}", style="yellow")
        if reading.refusals > len(reading.refused):
            say(f"  and {reading.refusals - len(reading.refused):,} more", style="yellow")


def _print_comparison(found: Comparison, before: Path) -> None:
    say(
        f"\nAgainst {before}: {len(found.same)} tickets the same, {len(found.gone)} gone, {len(found.new)} new; "
        f"{found.moved:,} of {found.messages:,} messages stand with others"
    )
    grid = table("", ">after", "kind", "summary", ">people", "cluster")
    rows: list[tuple[str, Filed]] = [("gone", one) for one in found.gone] + [("new", one) for one in found.new]
    for word, one in rows:
        grid.add_row(
            Text(word, style="red" if word == "gone" else "green"), f"{one.opened_after:,}", shown(one.kind),
            shown(one.summary, 80), f"{one.authors:,}", shown(one.cluster_id[:8]),
        )  # fmt: skip
    for was, now in found.same:
        if was.opened_after != now.opened_after:
            change = now.opened_after - was.opened_after
            words = f"{abs(change):,} messages {'later' if change > 0 else 'earlier'}"
            grid.add_row(
                words, f"{now.opened_after:,}", shown(now.kind), shown(now.summary, 80), f"{now.authors:,}",
                shown(now.cluster_id[:8]),
            )  # fmt: skip
    if grid.row_count:
        console().print(grid)
