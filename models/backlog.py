"""How like an issue that people filed is to what a community says. Pure.

Meaning and words together: the vectors' cosine knows that "sign in" is "log in", and only the words know the names of
a product's parts. Neither says much alone: in a tracker about one product every issue is near every other, and some
(templates, release chores) are near to all. So what counts is how much nearer the two are than each is to what is
usually nearest to it (cross-domain similarity local scaling, Conneau et al., arXiv 1710.04087, with its ten
neighbours), as a part of the way from there to sameness.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.feature_extraction.text import HashingVectorizer  # type: ignore[import-untyped]

Vectors = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float32]
Counts = sparse.csr_matrix
"""(n, 2^18) float32: how often each word is in a text, by the word's hash."""

NEIGHBOURS: Final = 10
"""As published; less would let a few issues about one matter hide each other."""
WORDS: Final = 0.5
"""What words count beside meaning."""
UNRELATED: Final = 0.5
"""Cosine in meaning that stands in for neighbours that a small tracker lacks; they share no word."""
TEXT_CHARS: Final = 4_000
_BLOCK: Final = 512
HASHES: Final = 2**18
_COUNTER: Final = HashingVectorizer(
    n_features=HASHES, alternate_sign=False, norm=None, stop_words="english", dtype=np.float32
)


class Encoder(Protocol):
    """The part of an embedder that issues are read by (`models.embedder.Embedder`)."""

    name: str

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Vectors (n, d) float32, unit rows, in the order of the texts."""


def issue_text(summary: str, description: str) -> str:
    """Return what is read of an issue: summary and description on one line, at most 4,000 characters.

    Code, addresses and mark-up stay: taking them out found fewer duplicates among real issues, not more.
    """
    return f"{summary}. {' '.join(description[: 2 * TEXT_CHARS].split())}"[:TEXT_CHARS]


def count_words(texts: Sequence[str]) -> Counts:
    """Count the words of each text (n >= 0); what no word is and English stop words are left out."""
    if not texts:
        return unpack([])
    return sparse.csr_matrix(_COUNTER.transform(text[:TEXT_CHARS] for text in texts))


def pack(counts: Counts) -> list[bytes]:
    """Return each row in bytes, five a word: its hash, and how often, at most 255 times."""
    rows = (counts[row] for row in range(counts.shape[0]))
    return [row.indices.astype("<u4").tobytes() + np.minimum(row.data, 255).astype(np.uint8).tobytes() for row in rows]


def unpack(rows: Sequence[bytes]) -> Counts:
    """Return what `pack` packed."""
    sizes = [len(row) // 5 for row in rows]
    hashes = b"".join(row[: 4 * size] for row, size in zip(rows, sizes, strict=True))
    often = b"".join(row[4 * size :] for row, size in zip(rows, sizes, strict=True))
    counts = np.frombuffer(often, np.uint8).astype(np.float32)
    ends = np.cumsum([0, *sizes], dtype=np.int32)
    return sparse.csr_matrix((counts, np.frombuffer(hashes, "<u4").astype(np.int32), ends), (len(rows), HASHES))


@dataclass(frozen=True, slots=True)
class Said:
    """What somebody said, once or many times."""

    vector: Vectors
    """(d,) float32, unit."""
    words: Counts
    """One row: of how many messages each word is."""


def said_by(vectors: Vectors, texts: Sequence[str]) -> Said:
    """Return what the messages of a cluster say together.

    Parameters
    ----------
    vectors : (n, d) float32
        Unit rows, n >= 1.
    texts : n str
    """
    middle = vectors.mean(axis=0, dtype=np.float64)
    unit = np.asarray(middle / max(float(np.linalg.norm(middle)), 1e-9), np.float32)
    counts = count_words(texts)
    counts.data[:] = 1
    return Said(unit, sparse.csr_matrix(counts.sum(axis=0)))


@dataclass(frozen=True, slots=True)
class Shelf:
    """Issues to be compared with; made by `of`."""

    vectors: Vectors
    """(n, d) float32, unit rows."""
    words: Counts
    """(n, 2^18), unit rows of tf-idf."""
    idf: Vectors
    usual: Scores
    """(n,): how near what is nearest to each issue usually is."""

    @classmethod
    def of(cls, vectors: Vectors, counts: Counts, usual: Scores | None = None) -> Self:
        """Make a shelf of n >= 0 issues.

        Parameters
        ----------
        vectors : (n, d) float32
            Unit rows.
        counts : (n, 2^18)
            Words.
        usual : (n,) float32, optional
            Known from an earlier shelf of nearly the same issues, NaN where nothing is: to find out costs n^2.
        """
        idf = _idf(counts)
        words = _weighted(counts, idf)
        found = np.full(len(vectors), np.nan, np.float32) if usual is None else usual.copy()
        unknown = np.flatnonzero(np.isnan(found))
        for start in range(0, len(unknown), _BLOCK):
            rows = unknown[start : start + _BLOCK]
            near = _near(vectors[rows], words[rows], vectors, words)
            near[np.arange(len(rows)), rows] = -np.inf
            found[rows] = _mean_of_highest(near, len(vectors) - 1)
        return cls(vectors, words, idf, found)

    def nearness(self) -> npt.NDArray[np.float32]:
        """Return how near each issue is to each, (n, n), before any scaling; for a few thousand issues."""
        return _near(self.vectors, self.words, self.vectors, self.words)

    def likeness(self, said: Said) -> Scores:
        """Return how like each issue is to what was said.

        Returns
        -------
        (n,) float32, at most 1: sameness; 0: no nearer than what is usually nearest to the two; below: further.
        """
        if not len(self.vectors):
            return np.zeros(0, np.float32)
        words = _weighted(said.words, self.idf)
        near = _near(said.vector[None, :], words, self.vectors, self.words)
        return scaled(near[0], float(_mean_of_highest(near, len(self.vectors))[0]), self.usual)


def scaled(near: Scores, own: float | Scores, usual: Scores) -> Scores:
    """Return the part of the way from what is usual for the two sides (`own`, `usual`) to sameness."""
    reference = np.minimum((own + usual) / 2, 1 - 1e-3)
    return np.asarray((near - reference) / (1 - reference), np.float32)


def _idf(counts: Counts) -> Vectors:
    having = np.bincount(counts.indices, minlength=counts.shape[1])
    return np.asarray(np.log((1 + counts.shape[0]) / (1 + having)) + 1, np.float32)


def _weighted(counts: Counts, idf: Vectors) -> Counts:
    weights: Any = counts.copy()
    weights.data = (1 + np.log(np.maximum(weights.data, 1))) * idf[weights.indices]
    norms = np.sqrt(np.asarray(weights.multiply(weights).sum(axis=1)).ravel())
    return sparse.csr_matrix(sparse.diags(1 / np.maximum(norms, 1e-9)) @ weights, dtype=np.float32)


def _near(vectors: Vectors, words: Counts, to_vectors: Vectors, to_words: Counts) -> Vectors:
    shared = (words @ to_words.T).toarray()
    return np.asarray((vectors @ to_vectors.T + WORDS * shared) / (1 + WORDS), np.float32)


def _mean_of_highest(near: Vectors, there: int) -> Scores:
    """Mean of the ten highest in each row, of which `there` are real; `UNRELATED` meanings fill up."""
    count = max(0, min(NEIGHBOURS, there))
    filling = UNRELATED / (1 + WORDS)
    if not count:
        return np.full(len(near), filling, np.float32)
    rest = near.shape[1] - count
    highest = np.partition(near, rest - 1, axis=1)[:, rest:] if rest else near
    return np.asarray((highest.sum(axis=1) + (NEIGHBOURS - count) * filling) / NEIGHBOURS, np.float32)
