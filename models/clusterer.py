"""Groups of messages that say the same, by density; the only module that imports hdbscan."""

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import scipy.sparse as sparse
from scipy.sparse import csgraph

from models.geometry import Floats, Labels, View, centroids, view_of
from models.neighbours import nearest, smoothed

_NO_ZERO: Final = 1e-7
_BEYOND: Final = 3.0
"""Longer than any distance on the unit sphere."""


@dataclass(frozen=True)
class ClusterFit:
    """What one fit found. Labels are not stable: they never leave the caller.

    Attributes
    ----------
    labels
        (n,) int32: 0..k-1, biggest group first, or -1 for noise. They are not stable (the same group gets
        another number next time) and never leave the caller, which reconciles groups to its cluster ids.
    view
        How later vectors are to be looked at, to be compared with the groups as this fit compared them.
    """

    labels: Labels
    view: View


class Clusterer(Protocol):
    """Anything that groups vectors."""

    def fit(self, vectors: npt.NDArray[np.floating]) -> ClusterFit:
        """Group vectors (n, d) float32, unit rows, n >= 0. Neither keeps nor changes its input."""


@dataclass(frozen=True, kw_only=True)
class DensityClusterer:
    """The leaves of HDBSCAN's tree over smoothed vectors, merged only where they are surely one.

    One view of the vectors (`models.geometry.View`), two rounds of smoothing over the nearest neighbours, then
    density: what is fine-grained stays apart, for a wrong merge spoils a ticket and a wrong split only holds one
    back (`models.novelty`).

    Holds parameters only, so it pickles into a spawned process and fits do not influence one another.

    Attributes
    ----------
    axes, damping
        Of the view: distances in hundreds of dimensions are all alike.
    neighbours
        That smooth a message's place, where their cosine is at least `neighbour_cosine`, in `rounds` rounds.
    min_cluster_size
        Messages; fewer are never a group.
    min_samples
        Neighbours that make a place dense, the message itself not counted.
    reach
        Neighbours among whom HDBSCAN looks for its spanning tree: the whole graph costs a day at 200,000 messages.
    merge_cosine
        Cosine of two centroids from which on groups are one.
    min_cohesion
        Mean cosine of a group's members to its centroid below which they are noise: HDBSCAN also groups what is
        merely left over between groups. -1 keeps all.
    """

    axes: int = 64
    damping: float = 0.3
    neighbours: int = 5
    neighbour_cosine: float = 0.6
    rounds: int = 2
    min_cluster_size: int = 4
    min_samples: int = 3
    reach: int = 15
    merge_cosine: float = 0.8
    min_cohesion: float = 0.5

    def __post_init__(self) -> None:
        """Refuse what cannot run."""
        if self.min_cluster_size < 2 or min(self.min_samples, self.axes, self.neighbours, self.reach) < 1:
            raise ValueError("min_cluster_size must be at least 2; min_samples, axes, neighbours and reach at least 1")
        for name in ("merge_cosine", "min_cohesion", "neighbour_cosine"):
            if not -1 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a cosine, -1 to 1, not {getattr(self, name)}")
        if not 0 <= self.damping <= 1 or self.rounds < 0:
            raise ValueError("damping lies between 0 and 1, rounds is not negative")

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
            return ClusterFit(np.full(n, -1, dtype=np.int32), View.plain(d))
        view = view_of(rows, self.axes, self.damping)
        if view.axes.shape[1] == 0:
            return ClusterFit(np.zeros(n, dtype=np.int32), View.plain(d))
        seen = view.of(rows)
        indices, distances = nearest(seen, self.neighbours)
        places = smoothed(seen, indices, distances, least=self.neighbour_cosine, times=self.rounds)
        found = self._merge_sure(seen, self._leaves(places))
        return ClusterFit(_biggest_first(self._drop_loose(seen, found)), view)

    def _leaves(self, places: Floats) -> Labels:
        # imported here: hdbscan brings scikit-learn, seconds that only the fitting process should pay
        from hdbscan._hdbscan_linkage import label  # type: ignore[import-untyped]
        from hdbscan.hdbscan_ import _tree_to_labels  # type: ignore[import-untyped]

        # HDBSCAN's own steps (Campello et al. 2013) on the graph of nearest neighbours in place of all pairs. Its
        # public door for graphs takes minutes where this takes a second (it fills Python lists entry by entry).
        tree = label(_spanning_tree(places, self.min_samples, self.reach))
        return np.asarray(_tree_to_labels(places, tree, self.min_cluster_size, "leaf")[0], dtype=np.int32)

    def _merge_sure(self, seen: Floats, labels: Labels) -> Labels:
        count = int(labels.max()) + 1
        if count < 2:
            return labels
        from scipy.cluster.hierarchy import fcluster, linkage
        from scipy.spatial.distance import squareform

        middles = centroids(seen, labels, count).astype(np.float64)
        distances = np.clip(1.0 - middles @ middles.T, 0.0, 2.0)
        distances = (distances + distances.T) / 2
        np.fill_diagonal(distances, 0.0)
        tree = linkage(squareform(distances, checks=False), method="average")
        merged = fcluster(tree, t=1.0 - self.merge_cosine, criterion="distance").astype(np.int32) - 1
        return np.where(labels >= 0, merged[labels], np.int32(-1))

    def _drop_loose(self, seen: Floats, labels: Labels) -> Labels:
        count = int(labels.max()) + 1
        if count == 0:
            return labels
        members = labels >= 0
        cosines = np.einsum("nd,nd->n", seen[members], centroids(seen, labels, count)[labels[members]])
        sums = np.bincount(labels[members], weights=cosines, minlength=count)
        loose = sums < self.min_cohesion * np.bincount(labels[members], minlength=count)
        return np.where(members & ~loose[labels], labels, np.int32(-1))


def _spanning_tree(places: Floats, min_samples: int, reach: int) -> npt.NDArray[np.float64]:
    """Return the minimum spanning tree by mutual reachability, (n - 1, 3): from, to, distance, shortest first.

    Among each row's `reach` nearest neighbours; parts that no neighbour joins are joined at a distance beyond all
    others, so that no group spans them.
    """
    n = len(places)
    neighbours, distances = nearest(places, max(reach, min_samples))
    core = distances[:, min(min_samples, distances.shape[1]) - 1].astype(np.float64)
    start = np.repeat(np.arange(n), neighbours.shape[1])
    end = neighbours.ravel()
    reachable = np.maximum(distances.ravel().astype(np.float64), np.maximum(core[start], core[end]))
    reachable += _NO_ZERO  # a sparse matrix takes a zero for "no edge", and copies of one text lie at zero
    graph = sparse.csr_matrix((reachable, (start, end)), shape=(n, n))
    tree = csgraph.minimum_spanning_tree(graph.maximum(graph.T)).tocoo()
    rows, columns, lengths = tree.row, tree.col, tree.data
    parts, part = csgraph.connected_components(graph, directed=False)
    firsts = np.unique(part, return_index=True)[1]
    rows = np.concatenate([rows, firsts[:-1]])
    columns = np.concatenate([columns, firsts[1:]])
    lengths = np.concatenate([lengths, np.full(parts - 1, _BEYOND)])
    order = np.argsort(lengths, kind="stable")
    return np.stack([rows[order], columns[order], lengths[order]], axis=1).astype(np.float64)


def _biggest_first(labels: Labels) -> Labels:
    """Renumber groups by size, ties by their first message."""
    names, first, sizes = np.unique(labels[labels >= 0], return_index=True, return_counts=True)
    order = np.lexsort((first, -sizes))
    renamed = np.full(int(labels.max(initial=-1)) + 2, -1, dtype=np.int32)  # last place: noise, index -1
    renamed[names[order]] = np.arange(len(names), dtype=np.int32)
    return renamed[labels]
