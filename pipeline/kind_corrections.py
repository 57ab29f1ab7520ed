"""What corrections would bring: labelled messages given to the classifier as if people had corrected them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from models.corrected_kinds import Correction, refit
from models.embedder import Embedder
from models.kind_examples import shipped_examples
from models.kind_names import KINDS
from models.kind_quality import calibration_error, macro_f1
from models.kinds import KindClassifier
from models.text import strip_for_embedding
from pipeline.errors import FatalError
from pipeline.kind_gold import Gold

SHUFFLES: Final = 5
SCORED_MIN: Final = 50
"""Messages that must be left to score; on fewer, the figures say nothing."""


@dataclass(frozen=True, slots=True)
class Gain:
    """Measures of one variant, one value a shuffle."""

    macro_f1: tuple[float, ...]
    accuracy: tuple[float, ...]
    ece: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Gains:
    """The shipped classifier beside refitted ones, on messages that none of them saw.

    Attributes
    ----------
    variants
        "shipped", "refit" and "refit, priors": with the shares of kinds of each data set that has enough corrections.
    fit_s
        CPU time of each refit, s.
    """

    corrections: int
    scored: int
    variants: dict[str, Gain]
    fit_s: tuple[float, ...]


def simulate(gold: Sequence[Gold], texts: Sequence[str], embedder: Embedder, corrections: int) -> Gains:
    """Take `corrections` messages of the dev half, where both labellers agree, and score the others; several shuffles.

    Raises
    ------
    FatalError
        When fewer than `SCORED_MIN` messages would be left to score.
    """
    known = _known(gold, texts, embedder, corrections)
    codes = np.array([KINDS.index(one.kind) for one in known])
    shipped = shipped_examples(embedder)
    plain = KindClassifier().fit(shipped.texts, shipped.kinds, shipped.hidden)
    random = np.random.default_rng(0)
    found: dict[str, list[tuple[float, float, float]]] = {}
    seconds = []
    for _ in range(SHUFFLES):
        order = random.permutation(len(known))
        begun = time.process_time()
        learned = refit(shipped, [known[row] for row in order[:corrections]])
        seconds.append(time.process_time() - begun)
        left = order[corrections:]
        rest = [known[row] for row in left]
        for name, values in {
            "shipped": _predicted(plain, rest, {}),
            "refit": _predicted(learned.classifier, rest, {}),
            "refit, priors": _predicted(learned.classifier, rest, learned.priors),
        }.items():
            best = values.argmax(axis=1)
            measured = (macro_f1(codes[left], best), float((best == codes[left]).mean()))
            found.setdefault(name, []).append((*measured, calibration_error(codes[left], values)))
    variants = {name: Gain(*(tuple(column) for column in zip(*runs, strict=True))) for name, runs in found.items()}
    return Gains(corrections, len(known) - corrections, variants, tuple(seconds))


def _known(gold: Sequence[Gold], texts: Sequence[str], embedder: Embedder, corrections: int) -> list[Correction]:
    chosen = [
        (item, text)
        for item, text in zip(gold, texts, strict=True)
        if item.half == "dev" and item.label_1 == item.label_2
    ]
    if len(chosen) - corrections < SCORED_MIN:
        raise FatalError(
            f"the dev half has {len(chosen)} messages that both labelled the same: at most "
            f"{max(len(chosen) - SCORED_MIN, 0)} can be corrections, so that {SCORED_MIN} are left to score"
        )
    rows = embedder.encode_deep([strip_for_embedding(text) for _, text in chosen]).hidden
    return [Correction(item.data_set, text, item.label_1, row) for (item, text), row in zip(chosen, rows, strict=True)]


def _predicted(
    classifier: KindClassifier, messages: Sequence[Correction], priors: Mapping[str, Mapping[str, float]]
) -> npt.NDArray[np.float64]:
    """Return probabilities (n, 5) as the embed stage would give them, each data set being a platform."""
    return np.vstack(
        [
            classifier.predict([one.text], one.hidden[None], prior=priors.get(one.source)).probabilities
            for one in messages
        ]
    )
