"""How figures of `evaluate` are shown: a table, and the same as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from rich.text import Text

from pipeline.cli.screen import console, note, plain, say, table
from pipeline.errors import FatalError

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


def figures(
    data: Path,
    threshold: int,
    outcomes: Sequence[Outcome],
    answered: Sequence[Outcome],
    rows: Mapping[str, Measures],
    left_out: Mapping[str, int],
) -> dict[str, Any]:
    """Return all figures, ready for JSON."""
    found = {
        "data": str(data),
        "threshold": threshold,
        "left_out": dict(left_out),
        "streaming": _middles(outcomes),
        "streams": [jsonable(asdict(one)) for one in outcomes],
        **{name: jsonable(asdict(row)) for name, row in rows.items()},
    }
    if answered:
        found |= {"answered": _middles(answered), "answered_streams": [jsonable(asdict(one)) for one in answered]}
    return found


def _middles(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    return {name: _middle(outcomes, name) for name in _COLUMNS} | {
        "moved": median(one.moved for one in outcomes),
        "to_pool": median(one.to_pool for one in outcomes),
        "seconds": median(one.seconds for one in outcomes),
    }


def _middle(outcomes: Sequence[Outcome], name: str) -> float | None:
    found = [getattr(one.measures, name) for one in outcomes]
    known = [value for value in found if value is not None]
    return jsonable(median(known)) if known else None


def jsonable(value: Any) -> Any:
    """Return a value without infinities: infinite delays are no JSON."""
    if isinstance(value, dict):
        return {name: jsonable(one) for name, one in value.items()}
    return None if isinstance(value, float) and math.isinf(value) else value


def write_json(path: Path, value: Any) -> None:
    """Write figures to a file.

    Raises
    ------
    FatalError
        When it cannot be written.
    """
    try:
        path.write_text(json.dumps(value, indent=2, default=str) + "\n", encoding="utf-8")
    except OSError as exc:
        raise FatalError(f"cannot write {path}: {exc.strerror or exc}") from exc


def show(
    data: Path, threshold: int, outcomes: Sequence[Outcome], answered: Sequence[Outcome], rows: Mapping[str, Measures]
) -> None:
    """Print the table of `evaluate`."""
    grid = table("", *(f">{title}" for title in _COLUMNS.values()))
    for title, own in (("streaming", outcomes), (_with_answers(answered), answered)):
        if not own:
            continue
        middle = {name: [getattr(one.measures, name) for one in own] for name in _COLUMNS}
        grid.add_row(
            f"{title}, median of {len(own)}",
            *(number(median(values)) if None not in values else "-" for values in middle.values()),
        )
        for outcome in own:
            grid.add_row(f"  seed {outcome.seed}", *(number(getattr(outcome.measures, name)) for name in _COLUMNS))
    for title, row in rows.items():
        late = {"delay_median", "delay_p90"}
        grid.add_row(title, *("-" if name in late else number(getattr(row, name)) for name in _COLUMNS))
    groups = outcomes[0].measures.groups
    heading = f"{plain(data.name)}: {groups} groups of {threshold} messages or more; delays in multiples of {threshold}"
    console().print(Text(heading, style="bold"), grid)
    say(
        f"messages of ticketed clusters, per fit: {median(one.moved for one in outcomes):.3f} moved outside merges and "
        f"splits, {median(one.to_pool for one in outcomes):.3f} back to the pool; "
        f"{median(one.seconds for one in outcomes):.0f} s a stream"
    )
    for outcome in answered:
        said = ", ".join(f"{count} {name}" for name, count in outcome.answers.items()) or "nothing was asked"
        ends = f"; hold {outcome.hold:.2f}, merge {outcome.merge:.2f}" if outcome.hold and outcome.merge else ""
        say(f"seed {outcome.seed}, answers: {said}{ends} at the end")
    if answered:
        say("a ticket that a person merged into another still counts as a ticket, and as a wrong one", style="dim")


def _with_answers(answered: Sequence[Outcome]) -> str:
    return f"with {answered[0].budget} answers" if answered else ""


def say_left_out(data: Path, left_out: Mapping[str, int]) -> None:
    """Say which lines were not taken as they are."""
    for what, count in left_out.items():
        note(f"{data}: {count:,} x {what}")


def number(value: float | None) -> str:
    """Return a figure as the table shows it."""
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    return "inf" if math.isinf(value) else f"{value:.3f}"
