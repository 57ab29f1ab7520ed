"""A message's way through the clusters, for people to read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.text import Text

from pipeline.cli.screen import console, shown, when

if TYPE_CHECKING:
    from pipeline.store.trail import Stop, Trail

_QUOTE_CHARS: Final = 280
_WORDS: Final = {
    "joined": "joined",
    "fit": "put by a fit into",
    "split": "split off into",
    "merge": "merged into",
    "command": "put by a person into",
}


def print_trail(way: Trail) -> None:
    """Print how a message came to where it is."""
    now = {"clustered": f"in #{way.number}", "pool": "in the pool, waiting for company"}.get(way.status, way.status)
    out = console()
    out.print(shown(f"{way.platform}/{way.message_id}: {now}{_because(way.reason)}", style="bold"), soft_wrap=True)
    if way.text:
        out.print(Text(f"  {when(way.posted_at)}  “").append_text(shown(way.text, _QUOTE_CHARS)).append("”"))
    lines = [f"entry {way.seq}: its words, as they are now, arrived"]
    if way.status != "erased":
        by = f" by {way.recipe}" if way.recipe else ""
        lines.append(f"read as {way.kind}{by}{f'; a person said: {way.corrected}' if way.corrected else ''}")
    if way.follows is not None:
        lines.append(f"an echo: it goes where {way.follows} goes")
    if way.placed_by is not None:
        lines.append(f"placed by command {way.placed_by}: no fit moves it away")
    lines += [f"entry {stop.seq}, {when(stop.at)} UTC: {_stop(stop)}" for stop in way.stops]
    if way.status == "erased":
        lines.append("its moves went with it")
    for line in lines:
        out.print(shown(line), soft_wrap=True)


def _stop(stop: Stop) -> str:
    came = f" from #{stop.from_number}" if stop.from_number is not None else ""
    by = f", by {stop.by} (command {stop.detail})" if stop.by is not None else ""
    if stop.why == "returned":
        return f"back to the pool{came}{by}"
    if stop.to_number is None:
        return f"{stop.why}{came}{_because(stop.detail)}"
    return f"{_WORDS.get(stop.why, stop.why)} #{stop.to_number}{came}{by}"


def _because(reason: str | None) -> str:
    return f": {reason}" if reason else ""
