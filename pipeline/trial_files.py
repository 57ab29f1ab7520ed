"""What a dry run leaves: `assignments.jsonl`, `tickets.jsonl` and `watches.jsonl`, and how two such folders differ."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pipeline.errors import FatalError
from pipeline.tried import Tried, TriedTicket, TriedWatch

ASSIGNMENTS: Final = "assignments.jsonl"
TICKETS: Final = "tickets.jsonl"
WATCHES: Final = "watches.jsonl"
SAME_SHARE: Final = 0.5
"""Of the messages of both tickets together, at their opening, that both have: from here on they are one matter."""


@dataclass(frozen=True, slots=True)
class Filed:
    """A ticket as `tickets.jsonl` tells it."""

    cluster_id: str
    kind: str
    summary: str
    opened_at: str
    opened_after: int
    authors: int
    ids: frozenset[tuple[str, str]]
    """Messages when it opened, with those that its cluster had at the end: (source, id)."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What other settings change."""

    same: list[tuple[Filed, Filed]]
    """Before and now, paired by the messages they share."""
    gone: list[Filed]
    new: list[Filed]
    moved: int
    """Messages of both runs that are not where most of their old cluster is now."""
    messages: int


def write_files(folder: Path, tried: Tried) -> None:
    """Write the files; what stood there under these names is replaced.

    Raises
    ------
    FatalError
        When they cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(
            folder / ASSIGNMENTS,
            (
                {
                    "message_id": one.ref.message_id,
                    "cluster_id": one.cluster_id,
                    "kind": one.kind,
                    "source": one.ref.platform,
                    "status": one.status,
                    "reason": one.reason,
                }
                for one in tried.assignments
            ),
        )
        _write(folder / TICKETS, map(_ticket, tried.tickets))
        _write(folder / WATCHES, map(_watch, tried.watches))
    except OSError as exc:
        raise FatalError(f"cannot write to {folder}: {exc.strerror or exc}; name another folder with --out") from exc


def _ticket(ticket: TriedTicket) -> dict[str, Any]:
    newest = ticket.opened_at_message
    return {
        "cluster_id": ticket.cluster_id,
        "kind": ticket.kind,
        "summary": ticket.summary,
        "opened_at": ticket.opened_at.isoformat(),
        "opened_at_message": newest.message_id if newest is not None else None,
        "messages": ticket.messages,
        "authors": ticket.authors,
        "platforms": list(ticket.platforms),
        "reason": ticket.reason,
        "quotes": list(ticket.quotes),
        "description": ticket.description,
        "opened_after": ticket.opened_after,
        "opened_as": ticket.opened_as,
        "merged_into": ticket.merged_into,
        "message_ids": [ref.message_id for ref in ticket.members],
        "sources": [ref.platform for ref in ticket.members],
    }


def _watch(watch: TriedWatch) -> dict[str, Any]:
    newest = watch.at_message
    return {
        "cluster_id": watch.cluster_id,
        "at": watch.at.isoformat(),
        "at_message": newest.message_id if newest is not None else None,
        "kind": watch.kind,
        "summary": watch.summary,
        "recent": watch.recent,
        "expected": round(watch.expected, 3),
        "chance": watch.chance,
        "window_days": watch.window.days,
        "messages": watch.messages,
        "authors": watch.authors,
        "platforms": list(watch.platforms),
        "new_platforms": list(watch.new_platforms),
        "release": watch.release,
        "reason": watch.reason,
        "quotes": list(watch.quotes),
        "after": watch.after,
        "watched_as": watch.watched_as,
    }


def _write(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    # Beside it first: an interrupted run leaves the old file whole.
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=True) + "\n")
    part.replace(path)


@dataclass(frozen=True, slots=True)
class Read:
    """A dry run, read back."""

    tickets: list[Filed]
    places: Mapping[tuple[str, str], str | None]
    """(source, message id) → cluster, or None."""


def read_tickets(folder: Path) -> Read:
    """Read a dry run's files.

    Raises
    ------
    FatalError
        When the folder holds none.
    """
    places = _places(folder)
    return Read(_tickets(folder, places), places)


def compare(before: Read, now: Read) -> Comparison:
    """Pair the tickets of two runs by the messages they share, whatever their ids are."""
    old, new = before.tickets, now.tickets
    overlaps = [
        (len(a.ids & b.ids) / len(a.ids | b.ids), -row, -column)
        for row, a in enumerate(old)
        for column, b in enumerate(new)
        if a.ids & b.ids
    ]
    pairs: dict[int, int] = {}
    for share, row, column in sorted(overlaps, reverse=True):
        if share >= SAME_SHARE and -row not in pairs and -column not in pairs.values():
            pairs[-row] = -column
    return Comparison(
        same=[(old[row], new[column]) for row, column in sorted(pairs.items())],
        gone=[one for row, one in enumerate(old) if row not in pairs],
        new=[one for column, one in enumerate(new) if column not in pairs.values()],
        moved=_moved(before.places, now.places),
        messages=len(now.places),
    )


def _moved(old: Mapping[tuple[str, str], str | None], new: Mapping[tuple[str, str], str | None]) -> int:
    """Count the messages outside the best match of their old cluster (or of no cluster) in the new run."""
    together: dict[str | None, Counter[str | None]] = {}
    for key in old.keys() & new.keys():
        together.setdefault(old[key], Counter())[new[key]] += 1
    stayed = 0
    for was, counts in together.items():
        stayed += counts[None] if was is None else max((n for name, n in counts.items() if name is not None), default=0)
    return len(old.keys() & new.keys()) - stayed


def _places(folder: Path) -> dict[tuple[str, str], str | None]:
    return {(row.get("source", ""), row["message_id"]): row["cluster_id"] for row in _rows(folder / ASSIGNMENTS)}


def _tickets(folder: Path, places: Mapping[tuple[str, str], str | None]) -> list[Filed]:
    at_end: dict[str | None, set[tuple[str, str]]] = {}
    for key, cluster_id in places.items():
        at_end.setdefault(cluster_id, set()).add(key)
    return [
        Filed(
            cluster_id=row["cluster_id"],
            kind=row["kind"],
            summary=row["summary"],
            opened_at=row["opened_at"],
            opened_after=row["opened_after"],
            authors=row["authors"],
            ids=frozenset(zip(row["sources"], row["message_ids"], strict=True)) | at_end.get(row["cluster_id"], set()),
        )
        for row in _rows(folder / TICKETS)
    ]


def _rows(path: Path) -> Sequence[Any]:
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError as exc:
        raise FatalError(f"{path} is missing: name the folder that an earlier `dry-run --out` wrote") from exc
    except (OSError, ValueError) as exc:
        raise FatalError(f"{path} cannot be read: {exc}") from exc
