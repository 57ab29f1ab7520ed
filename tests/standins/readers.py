"""A reader without a model, where reading is not the point: a text's vector follows from its first word."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

from models.embedder import Encoded
from models.kinds import train_kinds
from pipeline.embed import Reader

DIMENSIONS = 128


class WordEmbedder:
    """Texts that begin with the same word are near one another, all others far apart."""

    def __init__(self) -> None:
        self.name = "words"
        self.dimensions = DIMENSIONS
        self.languages: frozenset[str] | None = frozenset({"en"})
        self.texts = 0
        """How many it was given."""

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """See `Embedder.encode`."""
        self.texts += len(texts)
        return np.stack([self._one(text) for text in texts]) if texts else np.zeros((0, DIMENSIONS), np.float32)

    def encode_deep(self, texts: Sequence[str]) -> Encoded:
        """See `Embedder.encode_deep`."""
        rows = self.encode(texts)
        return Encoded(rows, rows)

    def _one(self, text: str) -> npt.NDArray[np.float32]:
        word = text.split(maxsplit=1)[0] if text.split() else ""
        vector = _random(word) + 0.25 * _random(text)
        return np.asarray(vector / np.linalg.norm(vector), np.float32)


def _random(text: str) -> npt.NDArray[np.float64]:
    seed = int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8])
    vector = np.random.default_rng(seed).standard_normal(DIMENSIONS)
    return np.asarray(vector / np.linalg.norm(vector))


@cache
def word_reader() -> Reader:
    """Return the reader; its kinds are worth nothing."""
    embedder = WordEmbedder()
    return Reader(embedder, train_kinds(embedder))
