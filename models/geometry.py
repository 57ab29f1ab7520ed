"""Directions on the unit sphere: centring, main axes, centroids, and what is close to what.

All functions are pure: arrays in, fresh arrays out, no state. Vectors are rows of unit length; "cosine" is
their dot product. Sentence vectors of one community all point roughly the same way, so cosines are only
worth comparing after the common direction is taken out (`centre`).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int32]

HOLD_COSINE = 0.55  # research/clustering.md §2 B: picked on banking77 + dstc11
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


def main_axes(vectors: npt.NDArray[np.floating], count: int) -> Floats:
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
    (d, k) float32, k <= count, orthonormal columns, widest first.
    """
    rows = np.asarray(vectors, dtype=np.float64)
    k = min(count, *rows.shape)
    if k == 0:
        return np.zeros((rows.shape[1], 0), dtype=np.float32)
    _, axes = np.linalg.eigh(rows.T @ rows)  # ascending
    axes = axes[:, ::-1][:, :k]
    signs = np.sign(axes[np.argmax(np.abs(axes), axis=0), np.arange(k)])
    return np.asarray(axes * signs, dtype=np.float32)


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


def held(
    centroids: npt.NDArray[np.floating],
    sizes: Sequence[int] | npt.NDArray[np.integer],
    opened_order: Sequence[int] = (),
    threshold: float = HOLD_COSINE,
) -> Labels:
    """Which clusters lie too close to an open one to be opened beside it.

    The research compared in the 100 main axes; in all dimensions ticket F1 is the same within noise
    (banking77 .756 for .761, dstc11 .645 for .645), and nothing but the mean has to be kept with a fit.

    Merging unsure neighbours spoils the ticket they join; opening them repeats it; holding spoils nothing
    (research/clustering.md §3). Open clusters are taken first, then the others, biggest first (ties: lowest
    index); each opens unless its cosine to one already open is `threshold` or more.

    Parameters
    ----------
    centroids
        (k, d) float, unit rows, centred.
    sizes
        (k,) int, messages per cluster.
    opened_order
        Indices of clusters that have a ticket already; they stay open whatever they are close to.
    threshold
        Cosine, -1 to 1.

    Returns
    -------
    (k,) int32: -1 where the cluster is or may be opened, else the index of the open cluster it is closest to.
    """
    rows = unit_rows(centroids)
    cosines = rows.astype(np.float64) @ rows.T.astype(np.float64)
    answer = np.full(len(rows), -1, dtype=np.int32)
    opened = list(dict.fromkeys(opened_order))
    standing = set(opened)
    for candidate in sorted(range(len(rows)), key=lambda index: (-int(sizes[index]), index)):
        if candidate in standing:
            continue
        if opened:
            nearest = max(opened, key=lambda index: cosines[candidate, index])
            if cosines[candidate, nearest] >= threshold:
                answer[candidate] = nearest
                continue
        opened.append(candidate)
    return answer
