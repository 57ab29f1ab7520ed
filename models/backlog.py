"""How like an issue that people filed is to what a community says: vectors in, scores out. Pure.

A cosine alone says little: in a tracker about one product every issue is near every other, and some texts (templates,
release chores) are near to all. So what counts is how much nearer the two are than each is to what is usually nearest
to it (cross-domain similarity local scaling, Conneau et al., arXiv 1710.04087, with its ten neighbours), as a part of
the way from there to sameness.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float32]

NEIGHBOURS: Final = 10
"""As published; less would let a few issues about one matter hide each other."""
UNRELATED: Final = 0.5
"""Cosine that stands in for neighbours that a small tracker lacks."""
TEXT_CHARS: Final = 4_000
_BLOCK: Final = 1_024

_LINK: Final = re.compile(r"\[([^\]\[|\n]+)\|[^\]\n]*\]")
_ADDRESS: Final = re.compile(r"\b(?:https?://|www\.)\S+", re.IGNORECASE)
_MACRO: Final = re.compile(r"\{[a-z]+(?::[^}\n]*)?\}|^\s*h[1-6]\.\s|```\w*", re.IGNORECASE | re.MULTILINE)


def issue_text(summary: str, description: str) -> str:
    """Return the words of an issue: no addresses, no wiki markup around them, at most 4,000 characters."""
    text = description[: 2 * TEXT_CHARS]
    for pattern, instead in ((_LINK, r"\1"), (_ADDRESS, " "), (_MACRO, " ")):
        text = pattern.sub(instead, text)
    return f"{summary}. {' '.join(text.split())}"[:TEXT_CHARS]


def middle_of(messages: Vectors) -> Vectors:
    """Return the unit vector (d,) in the middle of a cluster's messages (n, d), n >= 1."""
    middle = messages.mean(axis=0, dtype=np.float64)
    return np.asarray(middle / max(float(np.linalg.norm(middle)), 1e-9), np.float32)


def usual_nearness(issues: Vectors) -> Scores:
    """Return how near what is nearest to each issue usually is.

    Parameters
    ----------
    issues : (n, d) float32
        Unit rows, n >= 0.

    Returns
    -------
    (n,) float32, mean cosine of the ten nearest others; `UNRELATED` stands in for those that are not there.
    """
    usual = np.empty(len(issues), np.float32)
    for start in range(0, len(issues), _BLOCK):
        cosines = issues[start : start + _BLOCK] @ issues.T
        rows = np.arange(len(cosines))
        cosines[rows, start + rows] = -np.inf
        usual[start : start + _BLOCK] = _mean_of_highest(cosines, len(issues) - 1)
    return usual


def likeness(evidence: Vectors, issues: Vectors, usual: Scores) -> Scores:
    """Return how like each issue is to what was said.

    Parameters
    ----------
    evidence : (d,) float32
        Unit vector of what was said.
    issues : (n, d) float32
        Unit rows.
    usual : (n,) float32
        Of `usual_nearness`.

    Returns
    -------
    (n,) float32, at most 1: sameness; 0: no nearer than what is usually nearest to the two; below: further.
    """
    if not len(issues):
        return np.zeros(0, np.float32)
    cosines = issues @ evidence
    own = _mean_of_highest(cosines[None, :], len(issues))
    reference = np.minimum((own + usual) / 2, 1 - 1e-3)
    return np.asarray((cosines - reference) / (1 - reference), np.float32)


def _mean_of_highest(cosines: Vectors, there: int) -> Scores:
    """Mean of the ten highest in each row, of which `there` are real; the rest is `UNRELATED`."""
    count = max(0, min(NEIGHBOURS, there))
    if not count:
        return np.full(len(cosines), UNRELATED, np.float32)
    rest = cosines.shape[1] - count
    highest = np.partition(cosines, rest - 1, axis=1)[:, rest:] if rest else cosines
    return np.asarray((highest.sum(axis=1) + (NEIGHBOURS - count) * UNRELATED) / NEIGHBOURS, np.float32)
