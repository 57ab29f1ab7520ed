"""Centroids of the live clusters of a space, laid out as one matrix for the online assignment.

They stand still between fits, so that where a message goes depends on its vector alone and many can be looked up at
once. And they are whole numbers: sums of products that stay below 2^24 are exact in float32 in whatever order BLAS
adds them, so a message's place depends neither on its batch nor on the machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from models.geometry import View
from pipeline.entries import Vector
from pipeline.state import Cluster

SCALE: Final = 4_000.0
"""Whole numbers per unit of length: its square stays below 2^24. Rounding moves a cosine by 1e-4, seldom by 5e-4."""
CHUNK: Final = 256
"""Messages looked up in one product: 20,000 clusters make 20 MB of cosines."""

Place = tuple[int, float, float]
"""Row of the nearest centroid, its cosine, and that of the second nearest (-1 without one)."""


def whole(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return unit rows (n, k) as whole numbers in float32."""
    return np.asarray(np.rint(rows * SCALE), np.float32)


def assign(rows: npt.NDArray[np.float32], centroids: npt.NDArray[np.float32]) -> list[Place]:
    """Find the nearest of the centroids (c, k), c >= 1, for each of the rows (n, k); both from `whole`.

    Exact: the same for a row alone and among others. Ties go to the lower row.
    """
    places: list[Place] = []
    for start in range(0, len(rows), CHUNK):
        products = rows[start : start + CHUNK] @ centroids.T
        lines = np.arange(len(products))
        best = products.argmax(axis=1)
        first = products[lines, best]
        products[lines, best] = -np.inf
        second = products.max(axis=1)
        square = SCALE * SCALE
        places += zip(
            best.tolist(),
            (first.astype(np.float64) / square).tolist(),
            np.maximum(second.astype(np.float64) / square, -1.0).tolist(),
            strict=True,
        )
    return places


class CentroidIndex:
    """The centroids (c, k) of the live clusters as the last fit's view shows them; `Cluster.centroid` holds each."""

    def __init__(self) -> None:
        self.view: View | None = None
        self._clusters: list[Cluster] = []
        self._matrix: npt.NDArray[np.float32] = np.zeros((0, 0), np.float32)
        self._foreseen: dict[int, tuple[Vector, Place]] = {}

    def rebuild(self, clusters: Iterable[Cluster], view: View | None) -> None:
        """Lay out the live ones of `clusters` anew; after loading, after each fit and after each command."""
        self.view = view
        self._foreseen.clear()
        self._clusters = [c for c in clusters if c.live and c.centroid is not None] if view is not None else []
        self._matrix = (
            whole(np.stack([c.centroid for c in self._clusters if c.centroid is not None]))
            if self._clusters
            else np.zeros((0, 0), np.float32)
        )

    def seen(self, vectors: Sequence[Vector]) -> npt.NDArray[np.float32]:
        """Return vectors (n, d) as the last fit's view shows them, (n, k) unit rows; ValueError before the first."""
        if self.view is None:
            raise ValueError("no fit yet, so no view")
        return self.view.of(np.stack(vectors))

    def settle(self, cluster: Cluster) -> None:
        """Take the direction of a cluster's mean as its centroid: after a fit, and where a person made it."""
        if self.view is None:
            raise ValueError("no fit yet, so no view")
        middle = (cluster.total / max(cluster.count, 1)).astype(np.float32)
        cluster.centroid = self.view.of(middle[None, :])[0]

    def drop(self, cluster: Cluster) -> None:
        """Take away the row of a cluster that is no longer live."""
        if cluster in self._clusters:
            row = self._clusters.index(cluster)
            del self._clusters[row]
            self._matrix = np.delete(self._matrix, row, axis=0)
            self._foreseen.clear()

    def foresee(self, vectors: Sequence[Vector]) -> None:
        """Look up many vectors at once: `nearest` answers the same with or without, and sooner with.

        Forgets those looked up before.
        """
        self._foreseen.clear()
        if self.view is None or not self._clusters or not vectors:
            return
        places = assign(whole(self.seen(vectors)), self._matrix)
        self._foreseen = {id(vector): (vector, place) for vector, place in zip(vectors, places, strict=True)}

    def nearest(self, vector: Vector, margin: float) -> Cluster | None:
        """Return the cluster that `vector` belongs to for sure: near enough, and by `margin` nearer than any other."""
        if self.view is None or not self._clusters:
            return None
        known = self._foreseen.get(id(vector))
        place = known[1] if known is not None else assign(whole(self.seen([vector])), self._matrix)[0]
        row, first, second = place
        cluster = self._clusters[row]
        return cluster if first >= cluster.threshold and first - second >= margin else None

    @staticmethod
    def cosine(one: Cluster, other: Cluster) -> float:
        """Return the cosine of two clusters' centroids; ValueError where one has none."""
        if one.centroid is None or other.centroid is None:
            raise ValueError("a cluster without a centroid: no fit has seen it")
        return float(whole(one.centroid[None, :])[0] @ whole(other.centroid[None, :])[0]) / (SCALE * SCALE)


def similarities(rows: npt.NDArray[np.float32], centroid: Vector) -> npt.NDArray[np.float64]:
    """Return the cosines of unit rows (n, k) to one centroid (k,), (n,)."""
    return np.asarray(np.einsum("nk,k->n", rows.astype(np.float64), centroid.astype(np.float64)), np.float64)
