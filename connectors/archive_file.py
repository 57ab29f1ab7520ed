"""Lines of a text or gzip file, in bounded memory, damage included. Knows nothing of what a line means."""

import gzip
import hashlib
import zlib
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from pipeline.errors import FatalError, SkippableError

LINE_MAX_BYTES: Final = 4 * 1024 * 1024
"""A text of 40,000 characters, all escaped, is 240 kB; what is longer is another kind of file."""
OVERLONG_KEPT_BYTES: Final = 64 * 1024
_CHUNK_BYTES: Final = 64 * 1024
_GZIP_MAGIC: Final = b"\x1f\x8b"
_UTF8_BOM: Final = b"\xef\xbb\xbf"
_UTF16_BOMS: Final = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class Line:
    """One line, without its end.

    raw : the bytes; of a line above `LINE_MAX_BYTES` only the first `OVERLONG_KEPT_BYTES`.
    digest : 16 hex digits over all lines up to this one: same digest, same beginning of the file.
    ended : whether an end of line follows; only the last line may lack it.
    fault : why the line, or the file from here on, cannot be used; None for a sound line.
    """

    number: int
    raw: bytes
    digest: str
    ended: bool
    fault: str | None = None


def read_lines(path: Path) -> Iterator[Line]:
    """Yield every line from the first to the last, or to where the file is damaged.

    A damaged or foreign file ends with a line that has a `fault`; the sound lines before it are yielded.

    Raises
    ------
    FatalError
        When there is no such file or it cannot be read.
    """
    try:
        with path.open("rb") as file, closing(_chunks(file, path)) as chunks:
            splitter = _Splitter()
            try:
                for chunk in chunks:
                    yield from splitter.feed(chunk)
            except SkippableError as exc:
                yield splitter.rest(str(exc))
            else:
                if splitter.open:
                    yield splitter.rest(None)
    except FileNotFoundError as exc:
        raise FatalError(f"no such file: {path}; relative paths start at {Path.cwd()}") from exc
    except OSError as exc:
        raise FatalError(f"cannot read {path}: {exc.strerror}; name a file that you may read") from exc


def _chunks(file: BinaryIO, path: Path) -> Generator[bytes, None, None]:
    """Yield the text's bytes in pieces; SkippableError where the file is no text or is damaged."""
    head = file.read(4)
    file.seek(0)
    if head.startswith(_GZIP_MAGIC):
        yield from _unzipped(file)
        return
    if head.startswith(_UTF16_BOMS):
        raise SkippableError("UTF-16 file: convert it to UTF-8 (iconv -f UTF-16 -t UTF-8) and read it again")
    first = file.read(_CHUNK_BYTES)
    if path.suffix == ".gz" and not first.removeprefix(_UTF8_BOM).lstrip().startswith(b"{"):
        raise SkippableError("not gzip: named .gz, but holds something else; fetch or pack it again")
    yield first.removeprefix(_UTF8_BOM)
    while chunk := file.read(_CHUNK_BYTES):
        yield chunk


def _unzipped(file: BinaryIO) -> Iterator[bytes]:
    with gzip.GzipFile(fileobj=file, mode="rb") as unzipped:
        bom = _UTF8_BOM
        while True:
            try:
                # read1, not read: what was unpacked before the damage still comes out.
                chunk = unzipped.read1(_CHUNK_BYTES)
            except EOFError as exc:
                raise SkippableError("gzip cut short: the lines before are read; fetch it whole") from exc
            except (gzip.BadGzipFile, zlib.error) as exc:
                raise SkippableError(
                    f"damaged gzip: {exc}; the lines before are read, some may be wrong; fetch the file again"
                ) from exc
            if not chunk:
                return
            yield chunk.removeprefix(bom)
            bom = b""


class _Splitter:
    """Cuts pieces of any length into lines, holding at most `LINE_MAX_BYTES` and a piece."""

    def __init__(self) -> None:
        self._number = 0
        self._begun = bytearray()
        self._dropped = 0
        self._sum = hashlib.sha256()
        self._line_sum = hashlib.sha256()

    @property
    def open(self) -> bool:
        """Whether bytes wait for their end of line."""
        return bool(self._begun) or bool(self._dropped)

    def feed(self, chunk: bytes) -> Iterator[Line]:
        """Yield the lines that end in `chunk`."""
        *ends, begun = chunk.split(b"\n")
        for end in ends:
            yield self._line(end, ended=True, fault=None)
        self._add(begun)

    def rest(self, fault: str | None) -> Line:
        """Return what came after the last end of line."""
        return self._line(b"", ended=False, fault=fault)

    def _add(self, piece: bytes) -> None:
        self._sum.update(piece)
        room = LINE_MAX_BYTES - len(self._begun)
        if self._dropped or len(piece) > room:
            self._line_sum.update(self._begun if not self._dropped else b"")
            self._line_sum.update(piece)
            self._dropped += len(piece)
        else:
            self._begun += piece

    def _line(self, end: bytes, *, ended: bool, fault: str | None) -> Line:
        self._add(end)
        self._sum.update(b"\n")
        raw = bytes(self._begun)
        if self._dropped:
            length = len(raw) + self._dropped
            fault = fault or (
                f"line too long: {length} bytes of at most {LINE_MAX_BYTES}, here its first "
                f"{OVERLONG_KEPT_BYTES}, sha256 of all {self._line_sum.hexdigest()}; is this JSON Lines?"
            )
            raw = raw[:OVERLONG_KEPT_BYTES]
        self._number += 1
        self._begun, self._dropped, self._line_sum = bytearray(), 0, hashlib.sha256()
        return Line(self._number, raw.removesuffix(b"\r"), self._sum.copy().hexdigest()[:16], ended, fault)
