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

from models.embedder import Embedder
from pipeline.errors import FatalError

FILE: Final = "vectors.sqlite"
_CHUNK: Final = 500


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

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """See `Embedder.encode`; a text has the same vector whenever it is asked for again."""
        if not texts:
            return np.zeros((0, 0), np.float32)
        keys = [self._key(text) for text in texts]
        known = self._known(keys)
        fresh = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if fresh:
            fresh_rows = self._loaded().encode(list(fresh.values()))
            new = dict(zip(fresh, fresh_rows, strict=True))
            self._keep(new)
            known |= new
        self.read += len(fresh)
        self.found += len(texts) - len(fresh)
        rows = np.stack([known[key] for key in keys])
        self.dimensions = rows.shape[1]
        return rows

    def _key(self, text: str) -> bytes:
        return hashlib.sha256(f"{self.name}\0{text}".encode("utf-8", "surrogatepass")).digest()[:16]

    def _loaded(self) -> Embedder:
        if self._model is None:
            self._model = self._load()
        return self._model

    def _known(self, keys: Sequence[bytes]) -> dict[bytes, npt.NDArray[np.float32]]:
        if self._path is None:
            return {}
        known = {}
        wanted = list(dict.fromkeys(keys))
        with self._opened() as connection:
            for start in range(0, len(wanted), _CHUNK):
                some = wanted[start : start + _CHUNK]
                marks = ",".join("?" * len(some))
                for key, vector in connection.execute(f"SELECT key, vector FROM vectors WHERE key IN ({marks})", some):
                    known[key] = np.frombuffer(vector, "<f4")
        return known

    def _keep(self, new: dict[bytes, npt.NDArray[np.float32]]) -> None:
        if self._path is None:
            return
        with self._opened() as connection, connection:
            connection.executemany(
                "INSERT OR IGNORE INTO vectors VALUES (?, ?)",
                [(key, vector.astype("<f4").tobytes()) for key, vector in new.items()],
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
