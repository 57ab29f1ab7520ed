"""The archive connector: a file of JSON lines, plain or gzip, as exported from any community.

`archive_format` says what a line may hold, `archive_file` reads lines in bounded memory. Nothing in a file
stops it: a line that cannot become an event is refused with `file:line` and a reason, and the rest goes on.

A cursor is "<16 hex digits over all lines so far>:<line number>". A file that grew is read on from there; a
file whose earlier lines changed is read from its beginning (the events' ids remove the repeats), and a note
says so.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from connectors.archive_file import Line, read_lines
from connectors.archive_format import Translation
from connectors.contract import Published, Received, Refused
from pipeline.errors import SkippableError

_START: Final = ":0"


def _clock() -> datetime:
    return datetime.now(UTC)


class ArchiveConnector:
    """One archive file, read into one space. Its only partition is the file's absolute path."""

    name: Final = "archive"

    def __init__(self, path: Path, space: str, clock: Callable[[], datetime] = _clock) -> None:
        self._path = path
        self._space = space
        self._clock = clock
        self._translation = Translation(space)
        self._notes: list[str] = []
        self.lines = 0
        """Lines read by the last `receive`, skipped and blank ones included."""
        self.blank = 0
        """Blank lines among those it yielded from: they are neither published nor refused."""

    @property
    def instance(self) -> str:
        """The space: the same file may be read into two."""
        return self._space

    @property
    def partition(self) -> str:
        """The file's absolute path, with bytes that are no UTF-8 written as escapes."""
        return str(self._path.absolute()).encode("utf-8", "backslashreplace").decode("utf-8")

    @property
    def timed(self) -> bool:
        """Whether a line so far had a time."""
        return self._translation.timed

    def notes(self) -> tuple[str, ...]:
        """What was repaired or not read, once each, as "file: line N: …"; complete after `receive`."""
        return (*self._notes, *(f"{self._path}: {note}" for note in self._translation.notes))

    async def receive(self, after: Mapping[str, str]) -> AsyncIterator[Received]:
        """See `Connector.receive`."""
        self._notes = []
        cursor = after.get(self.partition, _START)
        skip = self._resumes_after(cursor)
        self._translation = Translation(self._space)
        self.lines = self.blank = 0
        for line in read_lines(self._path):
            self.lines += 1
            # Skipped lines are translated too: later edits need their channels, later repeats their ids.
            received = self._received(line, cursor)
            # A line that may still be being written is seen again by whoever resumes.
            cursor = f"{line.digest}:{line.number}" if received is None else received.cursor
            if line.number <= skip:
                continue
            if received is None:
                self.blank += 1
            else:
                yield received
        if self.lines == 0:
            self._notes.append(f"{self._path}: the file is empty")

    def _received(self, line: Line, before: str) -> Received | None:
        """Return what a line becomes, None if it is blank."""
        here = f"{line.digest}:{line.number}"
        where = f"{self._path}:{line.number}"
        if line.fault is not None:
            return Refused(line.raw, line.fault, where, here if line.ended else before, self.partition)
        if not line.raw.strip():
            return None
        try:
            event = self._translation.to_event(line.raw, line.number, self._clock())
        except SkippableError as exc:
            reason = str(exc)
            if not line.ended and reason.startswith("broken JSON"):
                reason = "half a line: the file ends within it; resume once the file is complete"
                return Refused(line.raw, reason, where, before, self.partition)
            return Refused(line.raw, reason, where, here, self.partition)
        return Published(event, here, self.partition)

    def _resumes_after(self, cursor: str) -> int:
        """Return the number of the last line that needs no second look; 0 to begin at the beginning."""
        digest, _, number = cursor.rpartition(":")
        if cursor == _START:
            return 0
        for line in _until(read_lines(self._path), int(number) if number.isdecimal() else 0):
            if line.digest == digest and str(line.number) == number:
                return line.number
        self._notes.append(
            f"{self._path}: changed before line {number} since it was read; read again from its beginning"
        )
        return 0


def _until(lines: Iterator[Line], last: int) -> Iterator[Line]:
    for line in lines:
        if line.number > last:
            return
        yield line
