"""What people's answers say about a space's thresholds.

A person who merges two clusters says "the same" about a pair with a known cosine; one who separates two, or promotes
a cluster that waited beside another, says "different". From these the space learns its own grain: at
which cosine to hold a cluster back ("close to #12"), and at which to merge for sure.

The rule: logistic regression of "the same" on the cosine (two parameters, as in Platt, 1999), maximum a posteriori.
The prior is given as data (Clogg et al., JASA 1991): `PRIOR_ANSWERS` answers at each default threshold, answered as
the default takes it. Without answers the thresholds are exactly the defaults; with n of them, the prior counts for
2 PRIOR_ANSWERS / (n + 2 PRIOR_ANSWERS) of all that is known. The curve always rises with the cosine, and no
threshold goes further than `MAX_SHIFT` from its default, however people answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

HOLD_LEVEL: Final = 0.5
"""Probability that two clusters are one matter, at the cosine `hold`: the midpoint of `models.novelty.chance_same`."""
MERGE_LEVEL: Final = 0.9
"""From which on they are merged: an unsure merge spoils the ticket that it joins."""
PRIOR_ANSWERS: Final = 5
"""Answers that each default threshold is worth."""
MIN_STEEPNESS: Final = 0.25
"""Of the default curve's slope: people who contradict one another do not turn the curve around."""
MAX_SHIFT: Final = 0.25
"""Of a threshold, in cosine."""
_HIGHEST: Final = 0.99
_STEPS: Final = 100
_ENOUGH: Final = 1e-12

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person said of two clusters whose centroids had this cosine when they said it."""

    cosine: float
    same: bool


@dataclass(frozen=True, slots=True)
class Calibration:
    """A space's own thresholds, and on how much they rest."""

    hold: float
    merge: float
    same: int = 0
    """Answers "the same"."""
    different: int = 0


def calibrate(answers: Sequence[Answer], hold: float, merge: float) -> Calibration:
    """Return the thresholds that the answers speak for.

    Parameters
    ----------
    answers : sequence of Answer
        In any order: the result does not depend on it.
    hold, merge : float
        The defaults, cosines; `hold` < `merge`, else they are returned as they are.
    """
    same = sum(answer.same for answer in answers)
    counts = {"same": same, "different": len(answers) - same}
    if not answers or hold >= merge:
        return Calibration(hold, merge, **counts)
    low, high = _logit(HOLD_LEVEL), _logit(MERGE_LEVEL)
    steepness = (high - low) / (merge - hold)
    # Cosines as seen from the default `hold`, in units in which the default curve has slope 1: well conditioned.
    ordered = sorted(answers, key=lambda answer: (answer.cosine, answer.same))
    cosine = np.array([hold, merge, *(answer.cosine for answer in ordered)])
    target = np.array([HOLD_LEVEL, MERGE_LEVEL, *(float(answer.same) for answer in ordered)])
    weight = np.array([PRIOR_ANSWERS, PRIOR_ANSWERS, *(1.0 for _ in ordered)])
    offset, slope = _fit((cosine - hold) * steepness, target, weight, start=(low, 1.0))
    found_hold, found_merge = (hold + (level - offset) / slope / steepness for level in (low, high))
    bounded = _bounded(found_hold, hold)
    return Calibration(bounded, max(bounded, _bounded(found_merge, merge)), **counts)


def _fit(x: Floats, target: Floats, weight: Floats, start: tuple[float, float]) -> tuple[float, float]:
    """Return offset and slope of the likeliest curve whose slope is at least `MIN_STEEPNESS`.

    The loss is convex, and strictly so by the two prior points: where the best slope is too flat, the best curve
    that is allowed has the least slope.
    """
    offset, slope = _newton(np.stack([np.ones_like(x), x], axis=1), np.zeros_like(x), target, weight, np.array(start))
    if slope < MIN_STEEPNESS:
        (offset,) = _newton(np.ones((len(x), 1)), MIN_STEEPNESS * x, target, weight, np.array(start[:1]))
        slope = MIN_STEEPNESS
    return float(offset), float(slope)


def _newton(columns: Floats, fixed: Floats, target: Floats, weight: Floats, start: Floats) -> Floats:
    """Minimise the weighted cross-entropy of sigmoid(columns @ p + fixed) by damped Newton steps from `start`."""

    def loss(parameters: Floats) -> float:
        z = columns @ parameters + fixed
        return float(weight @ (np.logaddexp(0.0, z) - target * z))

    parameters, best = start, loss(start)
    for _ in range(_STEPS):
        chance = 1.0 / (1.0 + np.exp(-np.clip(columns @ parameters + fixed, -500, 500)))
        gradient = columns.T @ (weight * (chance - target))
        curvature = columns.T @ (columns * (weight * chance * (1 - chance) + _ENOUGH)[:, None])
        step = np.linalg.solve(curvature, gradient)
        length = 1.0
        while (tried := loss(parameters - length * step)) > best and length > _ENOUGH:
            length /= 2
        if best - tried <= _ENOUGH:
            break
        parameters, best = parameters - length * step, tried
    return parameters


def _bounded(found: float, default: float) -> float:
    return float(min(max(found, default - MAX_SHIFT), default + MAX_SHIFT, max(default, _HIGHEST)))


def _logit(chance: float) -> float:
    return float(np.log(chance / (1 - chance)))
