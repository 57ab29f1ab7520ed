"""How good proposed links are, on issues of which is known which say the same.

Two ways to ask. With one message, every issue of a group is what somebody says, and all others are the tracker. With
several, the middle of so many messages of a group is what a cluster says; the tracker holds one other message of every
second group, and nothing of the rest. Each answer is the likest issue, proposed from a threshold on.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from models.backlog import NEIGHBOURS, Encoder, Shelf, count_words, issue_text, said_by, scaled
from models.baselines import shared_words
from pipeline.errors import FatalError
from pipeline.evaluation.reading import read_rows

Vectors = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

SEEDS: Final = 6
"""Draws of messages and of what the tracker holds, pooled."""


@dataclass(frozen=True, slots=True)
class Issues:
    """Issues, or messages, with their groups."""

    texts: list[str]
    gold: list[str | None]
    """None: of no known group."""
    vectors: Vectors
    """(n, d) unit rows."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What one way answered; (q,) each."""

    scores: Vectors
    """Of the likest issue."""
    right: Flags
    """It is of the same group."""
    filed: Flags
    """There was an issue to be found."""
    half: npt.NDArray[np.int64]
    """0 or 1, by a hash of the group, or of the text where there is none."""


@dataclass(frozen=True, slots=True)
class Links:
    """Measures of proposed links at a threshold."""

    threshold: float
    filed: int
    """What was asked about that is filed."""
    precision: float | None
    """Of the links proposed for these, how many are right; None where none is proposed."""
    recall: float
    """Of these, for how many the right link is proposed."""
    others: int
    """What was asked about of which nothing filed is known."""
    proposed: float
    """Of these, for how many a link is proposed: wrong, or a duplicate that nobody noted."""
    precision_balanced: float | None
    """Precision if every second cluster had been filed, and each link for the others were wrong."""
    precision_strict: float | None
    """Precision over all that was asked about, each link for the others counted as wrong."""

    @property
    def f1(self) -> float:
        """Harmonic mean of recall and the balanced precision."""
        precision = self.precision_balanced or 0.0
        return 2 * precision * self.recall / (precision + self.recall) if precision + self.recall else 0.0


def read_issues(path: Path, embedder: Encoder) -> Issues:
    """Read issues: `text` is the summary, `body` the description where there is one, `label` the group.

    Raises
    ------
    FatalError
        When the file cannot be read, or names no group of two.
    """
    rows = list(read_rows(path, Counter()))
    texts = [issue_text(row["text"], row["body"]) if row.get("body") else row["text"] for row in rows]
    gold = [None if row.get("label") in {None, "", "noise"} else str(row["label"]) for row in rows]
    sizes = Counter(label for label in gold if label is not None)
    gold = [label if label is not None and sizes[label] > 1 else None for label in gold]
    if not any(gold):
        raise FatalError(f"{path} names no group of two or more in `label`: there is nothing to be found")
    return Issues(texts, gold, embedder.encode(texts))


def ask_with_each(issues: Issues) -> dict[str, Answers]:
    """Let each issue be what somebody says, and all others the tracker."""
    likeness = _likeness_without_itself(Shelf.of(issues.vectors, count_words(issues.texts)).nearness())
    words = shared_words(issues.texts, issues.texts)
    gold = np.array([label or "" for label in issues.gold])
    filed = gold != ""
    half = _halves([label or text for label, text in zip(issues.gold, issues.texts, strict=True)])
    found = {}
    for name, scores in (("likeness", likeness), ("tf-idf", words)):
        np.fill_diagonal(scores, -np.inf)
        best = scores.argmax(axis=1)
        found[name] = Answers(scores[np.arange(len(best)), best], filed & (gold[best] == gold), filed, half)
    return found


def ask_with_clusters(issues: Issues, messages: int) -> dict[str, Answers]:
    """Let clusters of so many messages speak, every second of which has been filed.

    Raises
    ------
    FatalError
        When fewer than two groups are large enough.
    """
    members = defaultdict(list)
    for row, label in enumerate(issues.gold):
        if label is not None:
            members[label].append(row)
    large = sorted(label for label, rows in members.items() if len(rows) > messages)
    if len(large) < 2:
        raise FatalError(f"no two groups have more than {messages} messages: ask with fewer (--messages)")
    parts: dict[str, list[Answers]] = {"likeness": [], "tf-idf": []}
    for seed in range(SEEDS):
        draw = random.Random(seed)
        filed = set(draw.sample(large, len(large) // 2))
        drawn = {label: draw.sample(members[label], messages + 1) for label in large}
        there = [drawn[label][0] for label in large if label in filed]
        names = np.array([issues.gold[row] for row in there])
        filed_texts = [issues.texts[row] for row in there]
        shelf = Shelf.of(issues.vectors[there], count_words(filed_texts))
        texts = [[issues.texts[row] for row in drawn[label][1:]] for label in large]
        said = [said_by(issues.vectors[drawn[label][1:]], own) for label, own in zip(large, texts, strict=True)]
        likeness = np.stack([shelf.likeness(one) for one in said])
        words = shared_words(["\n".join(own) for own in texts], filed_texts)
        for name, scores in (("likeness", likeness), ("tf-idf", words)):
            best = scores.argmax(axis=1)
            known = np.array([label in filed for label in large])
            right = names[best] == np.array(large)
            parts[name].append(Answers(scores.max(axis=1), right, known, _halves(large)))
    return {name: _pooled(some) for name, some in parts.items()}


def measure(answers: Answers, threshold: float, half: int | None = None) -> Links:
    """Return the measures at a threshold, of one half or of all."""
    of = np.ones(len(answers.half), bool) if half is None else answers.half == half
    filed, others = of & answers.filed, of & ~answers.filed
    proposed = answers.scores >= threshold
    right = int((filed & proposed & answers.right).sum())
    links, wrong = int((filed & proposed).sum()), int((others & proposed).sum())
    share = wrong / max(1, int(others.sum()))
    balanced = links + share * int(filed.sum())
    return Links(
        threshold=threshold,
        filed=int(filed.sum()),
        precision=right / links if links else None,
        recall=right / max(1, int(filed.sum())),
        others=int(others.sum()),
        proposed=share,
        precision_balanced=right / balanced if balanced else None,
        precision_strict=right / (links + wrong) if links + wrong else None,
    )


def choose(answers: Answers, half: int) -> float:
    """Return the threshold with the highest F1 on a half; the highest of several."""
    candidates = np.unique(answers.scores[(answers.half == half) & np.isfinite(answers.scores)])
    return max((float(one) for one in candidates), key=lambda one: (measure(answers, one, half).f1, one))


def as_many(answers: Answers, like: Answers, threshold: float, half: int | None = None) -> float:
    """Return the threshold at which `answers` proposes as many links as `like` does at `threshold`."""
    of = np.ones(len(like.half), bool) if half is None else like.half == half
    count = int((like.scores[of] >= threshold).sum())
    return float(-np.sort(-answers.scores[of])[count - 1]) if count else math.inf


def _likeness_without_itself(near: Vectors) -> Vectors:
    """`Shelf.likeness` of each issue (n, n) to all others, as if it did not stand on the shelf itself."""
    count = len(near)
    if count <= NEIGHBOURS + 2:
        raise FatalError(f"{count} issues are too few to tell how near they usually are: {NEIGHBOURS + 3} at least")
    np.fill_diagonal(near, -np.inf)
    highest = -np.sort(-np.partition(near, count - NEIGHBOURS - 1, axis=1)[:, count - NEIGHBOURS - 1 :], axis=1)
    ten, last, next_one = highest[:, :NEIGHBOURS].sum(axis=1), highest[:, NEIGHBOURS - 1], highest[:, NEIGHBOURS]
    # of an issue that has the one that is asked with among its ten, the eleventh takes the place
    usual = (ten[None, :] + np.where(near >= last[None, :], next_one[None, :] - near, 0)) / NEIGHBOURS
    return scaled(near, ten[:, None] / NEIGHBOURS, usual)


def _halves(names: Sequence[str]) -> npt.NDArray[np.int64]:
    digests = (hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest() for name in names)
    return np.array([digest[-1] % 2 for digest in digests])


def _pooled(parts: Sequence[Answers]) -> Answers:
    return Answers(
        np.concatenate([one.scores for one in parts]),
        np.concatenate([one.right for one in parts]),
        np.concatenate([one.filed for one in parts]),
        np.concatenate([one.half for one in parts]),
    )
