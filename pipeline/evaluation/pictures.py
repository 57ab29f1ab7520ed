"""Two pictures: where the messages stand, and what more people needed costs and gains.

The only module that knows matplotlib, which a plain installation does not bring.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from models.clusterer import DensityClusterer
from models.geometry import centre, main_axes
from pipeline.errors import FatalError
from pipeline.evaluation.reading import Data
from pipeline.evaluation.streams import for_stream, run_streams
from pipeline.settings import Settings

FACTORS: Final = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
NAMED: Final = 25
"""Clusters that the map names, biggest first."""


@dataclass(frozen=True, slots=True)
class Point:
    """One setting of the curve."""

    people: int
    delay: float
    precision: float
    f1: float


def draw_map(path: Path, data: Data, settings: Settings) -> None:
    """Draw every message at its two main axes, coloured by the cluster of one fit; named by their commonest label.

    Raises
    ------
    FatalError
        When matplotlib is missing, or the file cannot be written.
    """
    plt = _pyplot()
    vectors = data.vectors()
    labels = DensityClusterer(min_cluster_size=settings.clusters.min_cluster_size).fit(vectors).labels
    places = _places(centre(vectors, vectors.mean(axis=0, dtype=np.float64)))
    figure, axes = plt.subplots(figsize=(14, 10))
    noise = labels < 0
    axes.scatter(*places[noise].T, s=2, c="#cccccc", linewidths=0)
    axes.scatter(*places[~noise].T, s=4, c=labels[~noise] % 20, cmap="tab20", linewidths=0)
    for name in range(min(NAMED, int(labels.max(initial=-1)) + 1)):
        own = np.flatnonzero(labels == name)
        gold = [data.gold[place] or "noise" for place in own]
        middle = np.median(places[own], axis=0)
        commonest = max(sorted(set(gold)), key=gold.count)
        axes.annotate(commonest.replace("$", r"\$")[:32], middle, fontsize=7, ha="center")
    axes.set_title(f"{len(vectors):,} messages, {int(labels.max(initial=-1)) + 1} clusters; grey: in none")
    axes.set_axis_off()
    _save(figure, path)


def _places(vectors: Any) -> Any:
    """Return (n, 2): UMAP's where it is installed, else the two main axes."""
    try:
        import umap  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        return vectors @ main_axes(vectors, 2)[0][0]
    return umap.UMAP(n_components=2, metric="cosine", random_state=0).fit_transform(vectors)


def curve(data: Data, settings: Settings, threshold: int, folder: Path) -> list[Point]:
    """Return the frontier of the first shuffle: the same data, with fewer or more people needed."""
    points = []
    for factor in FACTORS:
        people = max(2, round(factor * threshold))
        (outcome,) = run_streams(data, for_stream(settings, people), threshold, [0], folder, lambda _: None)
        measures = outcome.measures
        points.append(Point(people, measures.delay_median, measures.precision, measures.ticket_f1))
    return points


def draw_curve(path: Path, points: list[Point]) -> None:
    """Draw precision over delay; a setting that tickets fewer than half of the groups has none and is said below.

    Raises
    ------
    FatalError
        When matplotlib is missing, or the file cannot be written.
    """
    plt = _pyplot()
    figure, axes = plt.subplots(figsize=(8, 6))
    known = [point for point in points if not math.isinf(point.delay)]
    axes.plot([p.delay for p in known], [p.precision for p in known], marker="o", label="precision")
    axes.plot([p.delay for p in known], [p.f1 for p in known], marker="s", linestyle="--", label="ticket F1")
    for point in known:
        axes.annotate(
            f"{point.people} people", (point.delay, point.precision), xytext=(4, 6), textcoords="offset points"
        )
    without = [str(point.people) for point in points if math.isinf(point.delay)]
    axes.set_xlabel(
        "median delay over all groups, in multiples of T"
        + (f"; infinite at {', '.join(without)} people" if without else "")
    )
    axes.set_ylabel("share")
    axes.set_ylim(0, 1.02)
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    _save(figure, path)


def _pyplot() -> Any:
    try:
        import matplotlib
    except ImportError as exc:
        raise FatalError("pictures need matplotlib, which is not installed: uv sync --group evaluation") from exc
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def _save(figure: Any, path: Path) -> None:
    try:
        figure.savefig(path, dpi=130, bbox_inches="tight", format="png")
    except OSError as exc:
        raise FatalError(f"cannot write {path}: {exc.strerror or exc}") from exc
