"""What goes to the terminal. Texts that strangers wrote pass through `plain` first.

A message may hold terminal escapes (clear the screen, set the title, fake a link), bidirectional overrides that make
a line read backwards, or rich's own markup. None of it reaches the terminal.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from dataclasses import asdict, is_dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDE: Final = 160
"""Columns of output that goes to a file or a pipe."""
_REPLACED: Final = "\N{REPLACEMENT CHARACTER}"
_UNSAFE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode's categories of what is no visible character: controls, format marks (bidirectional ones among them),
surrogates, private use, unassigned, line and paragraph separators."""
_KEPT: Final = frozenset("\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}")
"""Format marks that emoji and several scripts are written with."""


def plain(text: str, limit: int | None = None, *, lines: bool = False) -> str:
    """Return `text` as harmless visible characters.

    Parameters
    ----------
    limit : int, optional
        Characters at most; what is longer ends in "…".
    lines : bool
        Keep line ends; else every run of white space becomes one space.
    """
    parts = text.splitlines() if lines else [text]
    cleaned = "\n".join(_visible(" ".join(part.split())) if not lines else _visible(part.rstrip()) for part in parts)
    return cleaned if limit is None or len(cleaned) <= limit else cleaned[: limit - 1] + "…"


def _visible(line: str) -> str:
    return "".join(
        _REPLACED if unicodedata.category(char) in _UNSAFE and char not in _KEPT else char
        for char in line.replace("\t", " ")
    )


def shown(text: object, limit: int | None = None, style: str = "") -> Text:
    """Return a value as rich text without markup; every cell and line that holds foreign text is made so."""
    return Text(plain(str(text), limit), style=style)


def console(*, stderr: bool = False) -> Console:
    """Return a console for the stream as it is now (tests exchange it)."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _WIDE
    return Console(stderr=stderr, width=width, highlight=False, emoji=False, markup=True)


def fail(message: str) -> None:
    """Say in red on stderr what went wrong."""
    console(stderr=True).print(Text(plain(message, lines=True), style="red"), soft_wrap=True)


def note(message: str) -> None:
    """Say something beside the result, on stderr."""
    console(stderr=True).print(Text(plain(message, lines=True), style="dim"), soft_wrap=True)


def say(message: str, style: str = "") -> None:
    """Print a line of the result."""
    console().print(Text(plain(message, lines=True), style=style), soft_wrap=True)


def table(*columns: str, title: str | None = None) -> Table:
    """Return an empty table; a column named with a leading ">" is of numbers."""
    grid = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in columns:
        if name.startswith(">"):
            grid.add_column(name[1:], justify="right", no_wrap=True)
        else:
            grid.add_column(name, overflow="fold")
    return grid


def print_json(value: Any) -> None:
    """Print dataclasses, or lists of them, as JSON in ASCII: escapes are harmless in it."""
    text = json.dumps(value, default=_jsonable, indent=2, ensure_ascii=True)
    sys.stdout.write(text.replace("\x7f", "\\u007f") + "\n")


def _jsonable(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def when(at: datetime | None) -> str:
    """Return a time to the minute, UTC."""
    return at.strftime("%Y-%m-%d %H:%M") if at is not None else "-"
