"""`evaluate --planted`: known groups in a community's chatter, and what else becomes a ticket."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from rich.text import Text

from pipeline.cli.evaluated import jsonable, number, say_left_out, write_json
from pipeline.cli.screen import console, note, plain, say, shown, table
from pipeline.cli.trying import Bar
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.evaluation.planted import Harvest
    from pipeline.tried import TriedTicket

_COLUMNS = {
    "ticket_f1": "F1",
    "precision": "prec",
    "recall": "rec",
    "duplicates": "dup",
    "tickets": "tickets",
    "pure_at_opening": "pure",
    "delay_median": "delay",
    "noise_rejected": "noise",
}
_QUOTE = 200


def evaluate_planted(
    data: Path, chatter: Path, settings: Settings, threshold: int, seeds: int, json_file: Path | None, *, cache: bool
) -> None:
    """Run, print and write the figures of groups of `data` planted into `chatter`."""
    from pipeline.dry_run import load_reader
    from pipeline.evaluation.planting import run_planted

    found: list[Harvest] = []
    left_out: dict[str, int] = {}
    with Bar(f"{data.name} in {chatter.name}") as bar:
        reader = load_reader(settings, cache=cache)
        for one, left_out in run_planted(data, chatter, settings, reader, threshold, seeds, bar):  # noqa: B007 (used after)
            found.append(one)
            note(
                f"seed {one.seed}: F1 {one.planted.ticket_f1:.3f}, {len(one.others)} other tickets, {one.seconds:.0f} s"
            )
    say_left_out(data, left_out)
    _show(data, chatter, found, threshold)
    if json_file is not None:
        write_json(json_file, {"data": str(data), "chatter": str(chatter), "seeds": [_figures(one) for one in found]})


def _figures(one: Harvest) -> dict[str, Any]:
    figures: dict[str, Any] = jsonable(asdict(one))
    return figures | {"others_per_10k": one.others_per_10k, "others": [_other(ticket) for ticket in one.others]}


def _other(ticket: TriedTicket) -> dict[str, Any]:
    return {
        "kind": ticket.kind,
        "summary": ticket.summary,
        "opened_at": ticket.opened_at,
        "messages": ticket.messages,
        "authors": ticket.authors,
        "reason": ticket.reason,
        "quotes": ticket.quotes,
        "merged_into": ticket.merged_into,
        "message_ids": [ref.message_id for ref in ticket.members],
    }


def _show(data: Path, chatter: Path, found: Sequence[Harvest], threshold: int) -> None:
    from pipeline.evaluation.planted import GROUPS, MESSAGES

    grid = table("", *(f">{title}" for title in _COLUMNS.values()), ">F1, all", ">others", ">per 10,000", ">seconds")
    rows = [
        [
            *(getattr(one.planted, name) for name in _COLUMNS), one.all_tickets_f1, len(one.others), one.others_per_10k,
            round(one.seconds),
        ]
        for one in found
    ]  # fmt: skip
    if len(rows) > 1:
        middle = (None if None in column else median(column) for column in zip(*rows, strict=True))
        grid.add_row(f"median of {len(rows)}", *(number(value) for value in middle))
    for one, row in zip(found, rows, strict=True):
        grid.add_row(f"seed {one.seed}", *(number(value) for value in row))
    heading = (
        f"{GROUPS} groups x {MESSAGES} messages of {plain(data.name)} in {found[0].messages:,} messages with "
        f"{plain(chatter.name)}; T = {threshold}"
    )
    console().print(Text(heading, style="bold"), grid)
    say('F1 is of tickets at least half planted; in "F1, all" the others count as wrong tickets too', style="dim")
    for one in found:
        for missed in one.missed:
            aside = ", ".join(f"{count} {reason}" for reason, count in missed.aside.items())
            kinds = ", ".join(f"{count} {kind}" for kind, count in missed.kinds.items())
            say(f"seed {one.seed}, no ticket: {missed.group}: {missed.clustered} together; {aside or 'none'}; {kinds}")
    for one in found:
        for ticket in one.others:
            head = f"\nseed {one.seed}, {ticket.opened_at:%Y-%m-%d}, {ticket.authors} people, {ticket.kind}: "
            console().print(Text(head).append_text(shown(ticket.summary, 120, style="bold")))
            for quote in ticket.quotes:
                say(f"  “{plain(quote, _QUOTE)}”")
