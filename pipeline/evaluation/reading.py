"""Labelled messages, as read by the embed stage; what was left out is counted, never passed over."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from connectors.archive_file import read_lines
from connectors.archive_format import UNTIMED_FROM
from pipeline.doors import Arrival, arrival_of
from pipeline.embed import Reader
from pipeline.entries import Posted
from pipeline.errors import FatalError
from pipeline.records import TEXT_MAX_CHARS, Event, EventType, MessageData, Origin

SPACE: Final = "evaluation"
PLATFORM: Final = "data"
CHUNK: Final = 512
BLANK: Final = "blank lines"
TEXTLESS: Final = "lines without a text"
CUT: Final = f"texts cut at {TEXT_MAX_CHARS:,} characters"


@dataclass(frozen=True, slots=True)
class Data:
    """Labelled messages, as read by the embed stage."""

    gold: list[str | None]
    """None: noise."""
    arrivals: list[Arrival]
    left_out: dict[str, int] = field(default_factory=dict)
    """What is not as the file has it → how often; unreadable lines are named by what ails them."""

    def vectors(self) -> npt.NDArray[np.float32]:
        """Return (n, d) unit rows."""
        return np.stack([one.body.vector for one in self.arrivals if isinstance(one.body, Posted)])


def read_data(path: Path, reader: Reader, noise_label: str, progress: Callable[[int, int], None]) -> Data:
    """Read an archive with labels; `Data.left_out` says what is not in it.

    Raises
    ------
    FatalError
        When it cannot be read, or holds no label.
    """
    left_out: Counter[str] = Counter()
    rows = list(read_rows(path, left_out))
    gold = [None if row.get("label") in {None, "", noise_label} else str(row["label"]) for row in rows]
    if not any(gold):
        raise FatalError(f"{path} has no message with a label: evaluate needs the gold group of each in `label`")
    arrivals: list[Arrival] = []
    for start in range(0, len(rows), CHUNK):
        events = [_event(start + number, row["text"]) for number, row in enumerate(rows[start : start + CHUNK])]
        origins = [Origin(partition=0, offset=0)] * len(events)
        signals = reader.signals(events, origins, reader.encoded(events))
        arrivals += [
            replace(arrival_of(one, frozenset({one.language or "en"})), record=None, origin=None) for one in signals
        ]
        progress(len(arrivals), len(rows))
    return Data(gold, arrivals, dict(left_out))


def read_rows(path: Path, left_out: Counter[str]) -> Iterator[dict[str, Any]]:
    """Yield the objects of an archive that have a text, cut where it is too long; count the rest in `left_out`.

    Raises
    ------
    FatalError
        When the file cannot be read, or a line is broken JSON.
    """
    for line in read_lines(path):
        if line.fault is not None:
            left_out[line.fault] += 1
            continue
        if not line.raw.strip():
            left_out[BLANK] += 1
            continue
        try:
            row = json.loads(line.raw)
        except ValueError as exc:
            raise FatalError(f"{path}:{line.number}: broken JSON: {exc}") from exc
        text = row.get("text") if isinstance(row, dict) else None
        if not isinstance(text, str) or not text.strip():
            left_out[TEXTLESS] += 1
            continue
        if len(text) > TEXT_MAX_CHARS:
            left_out[CUT] += 1
        yield row | {"text": text[:TEXT_MAX_CHARS]}


def _event(number: int, text: str) -> Event:
    data = MessageData(platform=PLATFORM, message_id=str(number), text=text, author=f"author {number}")
    return Event(
        id=str(number),
        source="evaluate",
        type=EventType.CREATED,
        time=UNTIMED_FROM,
        space=SPACE,
        container="-",
        data=data,
    )
