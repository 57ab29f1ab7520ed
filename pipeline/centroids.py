"""Centroids of the live clusters of a space, laid out as one matrix for the online assignment."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from pipeline.entries import Vector
from pipeline.state import Cluster


def unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Scale rows (…, d) to length 1; a zero row stays zero."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: npt.NDArray[np.float32] = (vectors / np.maximum(length, 1e-12)).astype(np.float32)
    return scaled


class CentroidIndex:
    """Centroids (k, d) float32 in the space centred by the mean of the last fit.

    A cluster's centroid is the direction of its members' mean seen from `mean`; it follows from the running total, so
    a member that joins or leaves costs one row and no look at the others.
    """

    def __init__(self) -> None:
        self.mean: Vector | None = None
        self._clusters: list[Cluster] = []
        self._row: dict[str, int] = {}
        self._matrix: npt.NDArray[np.float32] = np.zeros((0, 0), np.float32)

    def rebuild(self, clusters: Iterable[Cluster], mean: Vector | None) -> None:
        """Lay out the live ones of `clusters` anew; after loading and after each fit."""
        self.mean = mean
        self._clusters = [cluster for cluster in clusters if cluster.live] if mean is not None else []
        self._row = {cluster.cluster_id: row for row, cluster in enumerate(self._clusters)}
        self._matrix = (
            np.stack([self.of(c) for c in self._clusters]) if self._clusters else np.zeros((0, 0), np.float32)
        )

    def of(self, cluster: Cluster) -> Vector:
        """Return one centroid, (d,) float32 of unit length; ValueError before the first fit."""
        if self.mean is None:
            raise ValueError("no fit yet, so no centre")
        return unit((cluster.total / max(cluster.count, 1)).astype(np.float32) - self.mean)

    def refresh(self, cluster: Cluster) -> None:
        """Recompute the row of a cluster whose members changed; the last one's leaving takes the row away."""
        row = self._row.get(cluster.cluster_id)
        if row is None:
            return
        if cluster.count > 0:
            self._matrix[row] = self.of(cluster)
            return
        del self._clusters[row]
        self._row = {own.cluster_id: place for place, own in enumerate(self._clusters)}
        self._matrix = np.delete(self._matrix, row, axis=0)

    def similarities(self, vector: Vector) -> npt.NDArray[np.float32]:
        """Return the cosine of one unit vector (d,) to every centroid, (k,)."""
        if self.mean is None or not self._clusters:
            return np.zeros(0, np.float32)
        return self._matrix @ unit(vector - self.mean)

    def nearest(self, vector: Vector, margin: float) -> Cluster | None:
        """Return the cluster that `vector` belongs to for sure: near enough, and by `margin` nearer than any other."""
        similarity = self.similarities(vector)
        if not len(similarity):
            return None
        best = int(np.argmax(similarity))
        cluster = self._clusters[best]
        if not cluster.live or similarity[best] < cluster.threshold:
            return None
        second = float(np.partition(similarity, -2)[-2]) if len(similarity) > 1 else -1.0
        return cluster if float(similarity[best]) - second >= margin else None
