"""How good a classifier of kinds is, against labelled messages. Pure; texts play no part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.metrics import (  # type: ignore[import-untyped]
    cohen_kappa_score,
    confusion_matrix,
    precision_recall_curve,
    precision_recall_fscore_support,
)

from models.kind_names import KINDS

ECE_BINS = 10
RECALLS = (0.5, 0.65, 0.8)


@dataclass(frozen=True, slots=True)
class OfKind:
    """One kind's share of a `Quality`; precision and recall are 0 where they would divide by 0."""

    precision: float
    recall: float
    f1: float
    labelled: int
    predicted: int


@dataclass(frozen=True, slots=True)
class Point:
    """Of all thresholds on a kind's probability that reach `at_recall`, the most precise."""

    at_recall: float
    threshold: float
    precision: float
    recall: float


@dataclass(frozen=True, slots=True)
class Transferred:
    """A threshold that was chosen on some messages, and what it gives on others.

    Attributes
    ----------
    chosen
        On the messages where it was chosen: flattering, for it was chosen there.
    precision, recall
        On the others; precision is 0 where nothing reaches the threshold.
    """

    chosen: Point
    precision: float
    recall: float


@dataclass(frozen=True, slots=True)
class Quality:
    """Measures of predictions against one set of labels.

    Attributes
    ----------
    messages
        How many were scored.
    macro_f1
        Mean of F1 over the kinds that occur among the labels; argmax decides.
    interval
        95 % bootstrap interval of `macro_f1` over messages.
    ece
        Expected calibration error of the most probable kind, `ECE_BINS` equal bins.
    kinds
        Of each of `KINDS`.
    complaint, idea
        Operating points, for `RECALLS`; empty where nobody labelled one so.
    acting
        Precision and recall of complaint and idea by the rule that the pipeline acts by (`models.kinds.kind_of`).
    confusion
        Rows are labels, columns predictions, both in the order of `KINDS`.
    """

    messages: int
    macro_f1: float
    interval: tuple[float, float]
    accuracy: float
    ece: float
    kinds: dict[str, OfKind]
    complaint: tuple[Point, ...]
    idea: tuple[Point, ...]
    acting: dict[str, OfKind]
    confusion: list[list[int]]


def measure(labels: Sequence[str], probabilities: npt.NDArray[np.float64], acted: Sequence[str]) -> Quality:
    """Measure n predictions.

    Parameters
    ----------
    labels
        n >= 1 of `KINDS`.
    probabilities
        (n, 5), columns as `KINDS`.
    acted
        n of `KINDS` or "unsure": what `kind_of` made of each.

    Raises
    ------
    ValueError
        Without messages, or when the lengths differ.
    """
    if not labels or not len(labels) == len(probabilities) == len(acted):
        raise ValueError(f"{len(labels)} labels, {len(probabilities)} predictions and {len(acted)} kinds acted on")
    gold = np.array([KINDS.index(label) for label in labels])
    best = probabilities.argmax(axis=1)
    return Quality(
        messages=len(gold),
        macro_f1=macro_f1(gold, best),
        interval=_interval(gold, best),
        accuracy=float((gold == best).mean()),
        ece=calibration_error(gold, probabilities),
        kinds=dict(zip(KINDS, _of_kinds(gold, best), strict=True)),
        complaint=operating_points(gold == KINDS.index("complaint"), probabilities[:, KINDS.index("complaint")]),
        idea=operating_points(gold == KINDS.index("idea"), probabilities[:, KINDS.index("idea")]),
        acting=_acting(gold, acted),
        confusion=confusion_matrix(gold, best, labels=range(len(KINDS))).tolist(),
    )


def kappa(first: Sequence[str], second: Sequence[str]) -> float:
    """Cohen's kappa of two labellers over the same messages; 1 where both always gave the one same label."""
    found = float(cohen_kappa_score(first, second, labels=list(KINDS))) if len(set(first) | set(second)) > 1 else 1.0
    return found if np.isfinite(found) else 0.0


def macro_f1(gold: npt.NDArray[np.intp], best: npt.NDArray[np.intp]) -> float:
    """Mean of F1 over the kinds that occur in `gold`; both (n,), indices of `KINDS`."""
    confusion = np.zeros((len(KINDS), len(KINDS)))
    np.add.at(confusion, (gold, best), 1)
    there = confusion.sum(axis=1) > 0
    f1 = 2 * confusion.diagonal() / np.maximum(confusion.sum(axis=0) + confusion.sum(axis=1), 1)
    return float(f1[there].mean())


def calibration_error(gold: npt.NDArray[np.intp], probabilities: npt.NDArray[np.float64]) -> float:
    """Mean over messages of |share right - mean probability| within their bin of probability of the best kind."""
    best = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    bins = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    gap = np.bincount(bins, (best == gold) - confidence, minlength=ECE_BINS)
    return float(np.abs(gap).sum() / len(gold))


def operating_points(is_kind: npt.NDArray[np.bool_], probability: npt.NDArray[np.float64]) -> tuple[Point, ...]:
    """Return the most precise threshold for each of `RECALLS`."""
    if not is_kind.any():
        return ()
    precision, recall, thresholds = precision_recall_curve(is_kind, probability)
    points = []
    for at_recall in RECALLS:
        row = int(np.argmax(np.where(recall[:-1] >= at_recall, precision[:-1], -1)))
        points.append(Point(at_recall, float(thresholds[row]), float(precision[row]), float(recall[row])))
    return tuple(points)


def transferred(chosen: Point, is_kind: npt.NDArray[np.bool_], probability: npt.NDArray[np.float64]) -> Transferred:
    """Measure `chosen.threshold` on n other messages, at least one of them of the kind."""
    if not is_kind.any():
        raise ValueError("recall is of nothing: none of the messages is of the kind")
    taken = probability >= chosen.threshold
    right = int((taken & is_kind).sum())
    return Transferred(chosen, right / max(int(taken.sum()), 1), right / int(is_kind.sum()))


def _of_kinds(gold: npt.NDArray[np.intp], best: npt.NDArray[np.intp]) -> list[OfKind]:
    precision, recall, f1, labelled = precision_recall_fscore_support(
        gold, best, labels=range(len(KINDS)), zero_division=0.0
    )
    return [
        OfKind(float(precision[k]), float(recall[k]), float(f1[k]), int(labelled[k]), int((best == k).sum()))
        for k in range(len(KINDS))
    ]


def _acting(gold: npt.NDArray[np.intp], acted: Sequence[str]) -> dict[str, OfKind]:
    unsure = len(KINDS)
    codes = np.array([KINDS.index(kind) if kind in KINDS else unsure for kind in acted])
    rows = _of_kinds(gold, codes)
    return {kind: rows[KINDS.index(kind)] for kind in ("complaint", "idea")}


def _interval(gold: npt.NDArray[np.intp], best: npt.NDArray[np.intp], draws: int = 1_000) -> tuple[float, float]:
    random = np.random.default_rng(0)
    samples = (random.integers(0, len(gold), len(gold)) for _ in range(draws))
    found = np.quantile([macro_f1(gold[rows], best[rows]) for rows in samples], [0.025, 0.975])
    return float(found[0]), float(found[1])
