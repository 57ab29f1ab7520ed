"""Vectors of texts that were read before, in a file: embedding is the slow part of a dry run.

Keyed by the model's name and a hash of the text; no text is kept. A vector tells something of its text all the same:
the file belongs into the user's own cache folder, and may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from models.embedder import Embedder, Encoded
from pipeline.errors import FatalError

FILE: Final = "vectors.sqlite"
_CHUNK: Final = 500
_Row = npt.NDArray[np.float32]


class CachedEmbedder:
    """An embedder that is loaded when a text is new, and asked only about these.

    Parameters
    ----------
    name : str
        The model's name; vectors of another name are never taken.
    load : callable
        Loads the model. May raise.
    path : Path or None
        The file; None keeps nothing.

    Raises
    ------
    FatalError
        When the file cannot be used, here and in `encode`.
    """

    def __init__(
        self, name: str, load: Callable[[], Embedder], path: Path | None, languages: frozenset[str] | None = None
    ) -> None:
        self.name = name
        self.dimensions = 0
        """Known once a text was read."""
        self.languages = languages
        self._load = load
        self._model: Embedder | None = None
        self._path = path
        self.found = 0
        """Texts whose vector was there."""
        self.read = 0
        """Texts that the model read."""
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._opened() as connection:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB NOT NULL)")
                # A table of its own: an earlier release that shares the file goes on with the other one.
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS hidden_states (key BLOB PRIMARY KEY, hidden BLOB NOT NULL)"
                )

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """See `Embedder.encode`; a text has the same vector whenever it is asked for again."""
        return self.encode_deep(texts).vectors

    def encode_deep(self, texts: Sequence[str]) -> Encoded:
        """See `Embedder.encode_deep`; as `encode`."""
        if not texts:
            return Encoded(np.zeros((0, 0), np.float32), np.zeros((0, 0), np.float32))
        keys = [self._key(text) for text in texts]
        known = self._known(keys)
        fresh = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if fresh:
            read = self._loaded().encode_deep(list(fresh.values()))
            new = dict(zip(fresh, zip(read.vectors, read.hidden, strict=True), strict=True))
            self._keep(new)
            known |= new
        self.read += len(fresh)
        self.found += len(texts) - len(fresh)
        vectors, hidden = (np.stack(rows) for rows in zip(*(known[key] for key in keys), strict=True))
        self.dimensions = vectors.shape[1]
        return Encoded(vectors, hidden)

    def _key(self, text: str) -> bytes:
        return hashlib.sha256(f"{self.name}\0{text}".encode("utf-8", "surrogatepass")).digest()[:16]

    def _loaded(self) -> Embedder:
        if self._model is None:
            self._model = self._load()
        return self._model

    def _known(self, keys: Sequence[bytes]) -> dict[bytes, tuple[_Row, _Row]]:
        if self._path is None:
            return {}
        known = {}
        wanted = list(dict.fromkeys(keys))
        with self._opened() as connection:
            for start in range(0, len(wanted), _CHUNK):
                some = wanted[start : start + _CHUNK]
                query = (
                    "SELECT key, vector, hidden FROM vectors JOIN hidden_states USING (key)"
                    f" WHERE key IN ({','.join('?' * len(some))})"
                )
                for key, vector, hidden in connection.execute(query, some):
                    known[key] = np.frombuffer(vector, "<f4"), np.frombuffer(hidden, "<f4")
        return known

    def _keep(self, new: dict[bytes, tuple[_Row, _Row]]) -> None:
        if self._path is None:
            return
        with self._opened() as connection, connection:
            for table, place in (("vectors", 0), ("hidden_states", 1)):
                connection.executemany(
                    f"INSERT OR REPLACE INTO {table} VALUES (?, ?)",
                    [(key, rows[place].astype("<f4").tobytes()) for key, rows in new.items()],
                )

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        assert self._path is not None
        try:
            with contextlib.closing(sqlite3.connect(self._path, timeout=30.0)) as connection:
                yield connection
        except sqlite3.Error as exc:
            raise FatalError(
                f"the cache of vectors {self._path} cannot be used: {exc}; delete it, or use --no-cache"
            ) from exc
