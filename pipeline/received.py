"""A decoded record with its place, as the stages hand it on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

Record = TypeVar("Record")


@dataclass(frozen=True, slots=True)
class Received(Generic[Record]):
    """A decoded record and where it came from."""

    record: Record
    partition: int
    offset: int
    written_at: float
    """Seconds since 1970, when the broker appended it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A record that the work could not take, found while doing it."""

    partition: int
    offset: int
    reason: str
