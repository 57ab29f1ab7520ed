"""What a child writes: kept in a file of bounded size, and its last words for whoever must be told."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import BinaryIO, Final, Protocol

LOG_MAX_BYTES: Final = 8 * 1024 * 1024
_TAIL_LINES: Final = 40


class Sink(Protocol):
    """Where lines go."""

    def write(self, data: bytes, /) -> int:
        """Take a line."""

    def flush(self) -> None:
        """Let it be seen."""


class BoundedLog:
    """A file that is renamed to `NAME.1` when it is full: at most twice `max_bytes` are kept."""

    def __init__(self, path: Path, max_bytes: int = LOG_MAX_BYTES) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._max_bytes = max_bytes
        self._file: BinaryIO = path.open("ab")

    def write(self, data: bytes, /) -> int:
        """Append a line, in a new file when this one is full."""
        if self._file.tell() + len(data) > self._max_bytes:
            self._file.close()
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
            self._file = self._path.open("ab")
        return self._file.write(data)

    def flush(self) -> None:
        """Hand it to the system."""
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Tail:
    """The last lines of a child."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=_TAIL_LINES)

    def add(self, line: bytes) -> None:
        """Remember a line."""
        if text := line.decode("utf-8", "replace").rstrip():
            self._lines.append(text)

    def last_words(self, stage: str) -> str:
        """Return what a stage said to a person before it gave up: from the last line "STAGE: …" on, else the last."""
        lines = list(self._lines)
        mark = f"{stage}: "
        for at in reversed(range(len(lines))):
            if lines[at].startswith(mark):
                return "\n".join([lines[at].removeprefix(mark), *lines[at + 1 :]])
        return lines[-1] if lines else "it wrote nothing"
