"""Groups of messages that say the same, by density; the only module that imports hdbscan."""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from models.geometry import ATTACH_FLOOR, Floats, Labels, centre, centroids, main_axes, unit_rows


@dataclass(frozen=True)
class ClusterFit:
    """What one fit found. Labels are not stable: they never leave the caller.

    Attributes
    ----------
    labels
        (n,) int32: 0..k-1, biggest group first, or -1 for noise. They are not stable (the same group gets
        another number next time) and never leave the caller, which reconciles groups to its cluster ids.
    mean
        (d,) float32: what `models.geometry.centre` takes to centre later vectors as this fit did. Zeros where
        there was too little to centre on.
    """

    labels: Labels
    mean: Floats


class Clusterer(Protocol):
    """Anything that groups vectors."""

    def fit(self, vectors: npt.NDArray[np.floating]) -> ClusterFit:
        """Group vectors (n, d) float32, unit rows, n >= 0. Neither keeps nor changes its input."""


@dataclass(frozen=True, kw_only=True)
class DensityClusterer:
    """HDBSCAN on the main axes of the centred vectors, then a cautious merge (research/clustering.md §2, B).

    Holds parameters only, so it pickles into a spawned process and fits do not influence one another.

    Attributes
    ----------
    min_cluster_size
        Messages; fewer are never a group.
    min_samples
        Neighbours that make a place dense, the message itself not counted.
    merge_distance
        Cosine distance of two centroids below which groups are one.
    dimensions
        Main axes to look for density in: distances in hundreds of dimensions are all alike.
    selection
        HDBSCAN's choice from its tree: "eom" the most lasting groups, "leaf" the smallest. Neither wins:
        ticket F1 is .76 and .73 on banking77, .65 and .68 on dstc11, level on 600 to 900 messages.
    min_cohesion
        Mean cosine of a group's members to its centroid, centred, below which they are noise: HDBSCAN also
        groups what is merely left over between groups. By default what a single message needs to join. On 600
        to 900 messages with half chatter, chatter rejected rises from .48 to .93; no recall was lost on any
        set up to .65. -1 keeps all.
    """

    min_cluster_size: int = 10
    min_samples: int = 3
    merge_distance: float = 0.2
    dimensions: int = 50
    selection: Literal["eom", "leaf"] = "eom"
    min_cohesion: float = ATTACH_FLOOR

    def __post_init__(self) -> None:
        """Refuse what cannot run."""
        if self.min_cluster_size < 2 or self.min_samples < 1 or self.dimensions < 1:
            raise ValueError("min_cluster_size must be at least 2, min_samples and dimensions at least 1")
        if not 0 <= self.merge_distance <= 2:
            raise ValueError(f"merge_distance is a cosine distance, 0 to 2, not {self.merge_distance}")
        if not -1 <= self.min_cohesion <= 1:
            raise ValueError(f"min_cohesion is a cosine, -1 to 1, not {self.min_cohesion}")
        if self.selection not in ("eom", "leaf"):
            raise ValueError(f"selection is eom or leaf, not {self.selection}")

    def fit(self, vectors: npt.NDArray[np.floating]) -> ClusterFit:
        """Group the vectors.

        Parameters
        ----------
        vectors
            (n, d) float, unit rows, n >= 0, finite.

        Returns
        -------
        `ClusterFit`. Below `min_cluster_size` messages all are noise; messages that are all the same are one
        group. Same input, same output.
        """
        rows = np.asarray(vectors, dtype=np.float32)
        if rows.ndim != 2:
            raise ValueError(f"vectors must be (n, d), not {rows.shape}")
        if not np.isfinite(rows).all():
            raise ValueError("vectors hold NaN or infinity")
        n, d = rows.shape
        if n < self.min_cluster_size:
            return ClusterFit(np.full(n, -1, dtype=np.int32), np.zeros(d, dtype=np.float32))
        mean = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
        centred = centre(rows, mean)
        if not centred.any():
            return ClusterFit(np.zeros(n, dtype=np.int32), np.zeros(d, dtype=np.float32))
        # Normalising moved the mean; once more is what was measured, a third time changes nothing.
        again = centre(centred, centred.mean(axis=0, dtype=np.float64))
        found = self._merge_near(again, self._dense_groups(unit_rows(again @ main_axes(again, self.dimensions))))
        return ClusterFit(_biggest_first(self._drop_loose(centred, found)), mean)

    def _dense_groups(self, points: Floats) -> Labels:
        # imported here: hdbscan brings scikit-learn, seconds that only the fitting process should pay
        import hdbscan  # type: ignore[import-untyped]

        # Prim's tree is exact, so the order of messages hardly matters, and at our sizes faster than
        # Boruvka's (13,083 on one core: 5 and 8 s).
        model = hdbscan.HDBSCAN(
            min_cluster_size=self.min_cluster_size,
            min_samples=min(self.min_samples, len(points) - 1),
            cluster_selection_method=self.selection,
            algorithm="prims_kdtree",
            core_dist_n_jobs=1,
        )
        return np.asarray(model.fit_predict(points), dtype=np.int32)

    def _merge_near(self, centred: Floats, labels: Labels) -> Labels:
        count = int(labels.max()) + 1
        if count < 2:
            return labels
        from scipy.cluster.hierarchy import fcluster, linkage
        from scipy.spatial.distance import squareform

        middles = centroids(centred, labels, count).astype(np.float64)
        distances = np.clip(1.0 - middles @ middles.T, 0.0, 2.0)
        np.fill_diagonal(distances, 0.0)
        tree = linkage(squareform(distances, checks=False), method="average")
        merged = fcluster(tree, t=self.merge_distance, criterion="distance").astype(np.int32) - 1
        return np.where(labels >= 0, merged[labels], np.int32(-1))

    def _drop_loose(self, centred: Floats, labels: Labels) -> Labels:
        count = int(labels.max()) + 1
        if count == 0:
            return labels
        members = labels >= 0
        cosines = np.einsum("nd,nd->n", centred[members], centroids(centred, labels, count)[labels[members]])
        sums = np.bincount(labels[members], weights=cosines, minlength=count)
        loose = sums < self.min_cohesion * np.bincount(labels[members], minlength=count)
        return np.where(members & ~loose[labels], labels, np.int32(-1))


def _biggest_first(labels: Labels) -> Labels:
    """Renumber groups by size, ties by their first message."""
    names, first, sizes = np.unique(labels[labels >= 0], return_index=True, return_counts=True)
    order = np.lexsort((first, -sizes))
    renamed = np.full(int(labels.max(initial=-1)) + 2, -1, dtype=np.int32)  # last place: noise, index -1
    renamed[names[order]] = np.arange(len(names), dtype=np.int32)
    return renamed[labels]
