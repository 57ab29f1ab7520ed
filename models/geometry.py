"""Directions on the unit sphere: centring, main axes, centroids, and what is close to what.

All functions are pure: arrays in, fresh arrays out, no state. Vectors are rows of unit length; "cosine" is
their dot product. Sentence vectors of one community all point roughly the same way, so cosines are only
worth comparing after the common direction is taken out (`centre`).
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int32]

ATTACH_QUANTILE = 0.1  # research/clustering.md §4: a joiner is no further out than the outer tenth
# Of the noise so attached, right: .75 at .5, .95 at .6 on dstc11; no effect on banking77 (tighter clusters).
ATTACH_FLOOR = 0.6

# Float32 rounding of a sum of unit vectors stays below this; a shorter row has no direction, only noise.
_NO_DIRECTION = 1e-5


def unit_rows(vectors: npt.NDArray[np.floating]) -> Floats:
    """Scale rows to length one.

    Parameters
    ----------
    vectors
        (n, d) float, n >= 0.

    Returns
    -------
    (n, d) float32. A row too short to have a direction (below 1e-5) becomes all zeros, never NaN: its cosine
    to anything is then 0.
    """
    wide = np.asarray(vectors, dtype=np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    scaled = np.zeros_like(wide)
    np.divide(wide, lengths, out=scaled, where=lengths > _NO_DIRECTION)
    return scaled.astype(np.float32)


def centre(vectors: npt.NDArray[np.floating], mean: npt.NDArray[np.floating]) -> Floats:
    """Take the community's common direction out of its vectors.

    Parameters
    ----------
    vectors
        (n, d) float, unit rows.
    mean
        (d,) float, from `models.clusterer.ClusterFit.mean`; zeros leave the vectors as they are.

    Returns
    -------
    (n, d) float32 unit rows; zeros where a vector equals the mean.
    """
    return unit_rows(np.asarray(vectors, dtype=np.float64) - np.asarray(mean, dtype=np.float64))


@dataclass(frozen=True, slots=True)
class View:
    """How one fit looks at the vectors of a space; later vectors are looked at in the same way.

    Centred, on the widest axes of the fitted vectors, and on those the wider the more damped: what a community talks
    about all the time ("card", "account") spreads widest and tells its matters apart least. Damping by a power of the
    variance lies between principal components (power 0) and whitening (power 1).

    Attributes
    ----------
    mean
        (d,) float32: the common direction, taken out first.
    axes
        (d, k) float32: orthogonal columns, scaled by the damping.
    """

    mean: Floats
    axes: Floats

    @classmethod
    def plain(cls, dimensions: int) -> Self:
        """Return the view that leaves vectors as they are: where there is too little to learn one from."""
        return cls(np.zeros(dimensions, np.float32), np.eye(dimensions, dtype=np.float32))

    def of(self, vectors: npt.NDArray[np.floating]) -> Floats:
        """Look at vectors (n, d): (n, k) float32 unit rows, zeros where there is nothing to see.

        A row does not depend on the others in the call: BLAS may round one differently in another batch, einsum
        does not.
        """
        return unit_rows(np.einsum("nd,dk->nk", centre(vectors, self.mean), self.axes))

    def tobytes(self) -> bytes:
        """Return the view as bytes, for `View.frombytes`."""
        rows = np.vstack([self.mean[None, :], self.axes.T]).astype("<f4")
        return np.array(rows.shape, "<u4").tobytes() + rows.tobytes()

    @classmethod
    def frombytes(cls, data: bytes) -> Self:
        """Return the view that `tobytes` wrote."""
        shape = np.frombuffer(data[:8], "<u4")
        rows = np.frombuffer(data[8:], "<f4").reshape(shape).astype(np.float32)
        return cls(rows[0].copy(), np.ascontiguousarray(rows[1:].T))


def view_of(vectors: npt.NDArray[np.floating], axes: int, damping: float) -> View:
    """Return the view of vectors (n, d) on at most `axes` axes; none where all vectors are the same."""
    rows = np.asarray(vectors, dtype=np.float64)
    mean = rows.mean(axis=0).astype(np.float32)
    centred = centre(rows, mean)
    directions, spread = main_axes(centred, axes)
    seen = spread > 1e-6 * max(float(spread.max(initial=0.0)), 1e-12)
    scale = (spread[seen] / spread.max(initial=1e-12)) ** (-damping / 2)
    # One layout in memory: einsum adds in another order in another layout, and a stored view must show the same.
    return View(mean, np.ascontiguousarray(directions[:, seen] * scale, dtype=np.float32))


def main_axes(vectors: npt.NDArray[np.floating], count: int) -> tuple[Floats, npt.NDArray[np.float64]]:
    """Directions in which the vectors spread most (principal components, the vectors taken as centred).

    An eigen-decomposition of the (d, d) second moments, with the largest entry of each axis made positive:
    unlike the randomised solvers, the same input gives the same axes.

    Parameters
    ----------
    vectors
        (n, d) float.
    count
        Axes wanted; at most min(n, d) have any spread, and no more than these are returned.

    Returns
    -------
    Axes (d, k) float32, k <= count, orthonormal columns, widest first; and the second moment along each, (k,).
    """
    rows = np.asarray(vectors, dtype=np.float64)
    k = min(count, *rows.shape)
    if k == 0:
        return np.zeros((rows.shape[1], 0), dtype=np.float32), np.zeros(0)
    moments, axes = np.linalg.eigh(rows.T @ rows)  # ascending
    axes = axes[:, ::-1][:, :k]
    signs = np.sign(axes[np.argmax(np.abs(axes), axis=0), np.arange(k)])
    return np.asarray(axes * signs, dtype=np.float32), np.maximum(moments[::-1][:k], 0.0)


def centroids(vectors: npt.NDArray[np.floating], labels: npt.NDArray[np.integer], count: int) -> Floats:
    """Mean direction of each cluster.

    Parameters
    ----------
    vectors
        (n, d) float, unit rows.
    labels
        (n,) int, -1 to count - 1; rows labelled -1 (noise) count nowhere.
    count
        Number of clusters.

    Returns
    -------
    (count, d) float32 unit rows; zeros for a label without members.
    """
    rows = np.asarray(vectors, dtype=np.float64)
    members = labels >= 0
    sums = np.zeros((count, rows.shape[1]))
    np.add.at(sums, labels[members], rows[members])
    return unit_rows(sums)


def cohesion(vectors: npt.NDArray[np.floating]) -> float:
    """How much of a piece a group is: the mean cosine of each member to the middle of the others.

    Not to the middle of all: that each member pulls towards itself, the more the fewer they are, and ten random
    rows would pass for a group.

    Parameters
    ----------
    vectors
        (m, d) float, unit rows, m >= 0.

    Returns
    -------
    A float, -1 to 1; 0 for fewer than two.
    """
    rows = np.asarray(vectors, dtype=np.float64)
    if len(rows) < 2:
        return 0.0
    return float(np.einsum("md,md->m", rows, unit_rows(rows.sum(axis=0) - rows)).mean())


def attach_threshold(
    member_similarities: npt.NDArray[np.floating],
    floor: float = ATTACH_FLOOR,
    quantile: float = ATTACH_QUANTILE,
) -> float:
    """Cosine to a cluster's centroid from which a new message may join it.

    Parameters
    ----------
    member_similarities
        (m,) float, -1 to 1: cosine of the present members to their centroid, both centred alike; m >= 0.
    floor
        Never below this, however loose the cluster is.
    quantile
        Share of the present members that may lie below the threshold.

    Returns
    -------
    A float, `floor` to 1.
    """
    if len(member_similarities) == 0:
        return floor
    spread = float(np.quantile(np.asarray(member_similarities, dtype=np.float64), quantile))
    return max(floor, min(spread, 1.0))
