"""Kinds that learn from what people of one space corrected: refit on the shipped examples and on theirs."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

from models.kind_examples import Examples
from models.kind_names import KINDS
from models.kinds import RECIPE_VERSION, KindClassifier

CORRECTIONS_MAX: Final = 1_000
"""Newest corrections that a refit takes: bounds its time, and the shipped examples keep their say."""
PRIOR_MIN_CORRECTIONS: Final = 50
"""Corrections of one source below which its shares of kinds are not known well enough to correct for them."""
PRIOR_STRENGTH: Final = 5.0
"""Corrections that the shares of all examples weigh as much as, beside a source's own."""


@dataclass(frozen=True, slots=True)
class Correction:
    """A message that a person said the kind of.

    Attributes
    ----------
    source
        Where it was posted; sources differ in how often each kind occurs.
    text
        As it came.
    kind
        One of `KINDS`.
    hidden
        (h,) float32, unit: `strip_for_embedding` of the text, as `Embedder.encode_deep` gives it.
    """

    source: str
    text: str
    kind: str
    hidden: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class CorrectedKinds:
    """What a space learned.

    Attributes
    ----------
    classifier
        Fitted on the shipped examples and the corrections.
    priors
        Shares of `KINDS` by source, for `KindClassifier.predict`; only sources with enough corrections.
    recipe
        `RECIPE_VERSION`, how many corrections, and the beginning of a digest of them: "kinds-2-44ff3878+c12.3fa9c1".
    """

    classifier: KindClassifier
    priors: Mapping[str, Mapping[str, float]]
    recipe: str


def refit(shipped: Examples, corrections: Sequence[Correction]) -> CorrectedKinds:
    """Return a classifier that knows the corrections, each as one more example.

    The same examples and corrections give the same one, in whatever order the corrections come.

    Parameters
    ----------
    corrections
        At least one; of more than `CORRECTIONS_MAX`, choose before.

    Raises
    ------
    ValueError
        Without corrections: the shipped classifier is the one to use.
    """
    if not corrections:
        raise ValueError("no corrections: use the shipped classifier")
    ordered = sorted(corrections, key=lambda one: (one.source, one.text, one.kind))
    texts = [*shipped.texts, *(one.text for one in ordered)]
    kinds = [*shipped.kinds, *(one.kind for one in ordered)]
    hidden = np.vstack([shipped.hidden, *(one.hidden[None] for one in ordered)])
    return CorrectedKinds(KindClassifier().fit(texts, kinds, hidden), source_priors(ordered, kinds), _recipe(ordered))


def source_priors(corrections: Sequence[Correction], examples: Sequence[str]) -> Mapping[str, Mapping[str, float]]:
    """Return the shares of kinds of each source with at least `PRIOR_MIN_CORRECTIONS`, smoothed towards `examples`.

    The mean of a Dirichlet distribution: its prior is the shares among the kinds `examples`, worth `PRIOR_STRENGTH`.
    """
    base = Counter(examples)
    by_source: dict[str, Counter[str]] = defaultdict(Counter)
    for one in corrections:
        by_source[one.source][one.kind] += 1
    return MappingProxyType(
        {
            source: MappingProxyType(
                {
                    kind: (counts[kind] + PRIOR_STRENGTH * base[kind] / base.total())
                    / (counts.total() + PRIOR_STRENGTH)
                    for kind in KINDS
                }
            )
            for source, counts in sorted(by_source.items())
            if counts.total() >= PRIOR_MIN_CORRECTIONS
        }
    )


def _recipe(ordered: Sequence[Correction]) -> str:
    digest = hashlib.sha256()
    for one in ordered:
        digest.update(f"{one.source}\0{one.kind}\0{one.text}\0".encode("utf-8", "surrogatepass"))
    return f"{RECIPE_VERSION}+c{len(ordered)}.{digest.hexdigest()[:6]}"
