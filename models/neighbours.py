"""Who lies next to whom: exact nearest neighbours, and what they say a message means; pure."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sparse

from models.geometry import Floats, unit_rows

Indices = npt.NDArray[np.int64]


def nearest(rows: Floats, count: int) -> tuple[Indices, Floats]:
    """Find the nearest other rows of each row.

    Parameters
    ----------
    rows
        (n, k) float32, unit rows, n >= 2.
    count
        Neighbours wanted; n - 1 where there are fewer.

    Returns
    -------
    Indices (n, count), nearest first, and Euclidean distances (n, count). Exact, not approximate: an index that
    depends on the order of insertion would give other clusters to a shuffled archive.
    """
    # imported here: scikit-learn takes a second that only the fitting process should pay
    from sklearn.neighbors import NearestNeighbors  # type: ignore[import-untyped]

    n = len(rows)
    count = min(count, n - 1)
    distances, indices = NearestNeighbors(n_neighbors=count + 1, algorithm="brute").fit(rows).kneighbors(rows)
    own = indices == np.arange(n)[:, None]
    own[~own.any(axis=1), -1] = True  # among many copies of one text a row may not find itself
    return indices[~own].reshape(n, count), distances[~own].reshape(n, count).astype(np.float32)


def smoothed(rows: Floats, neighbours: Indices, distances: Floats, *, least: float, times: int) -> Floats:
    """Let each row drift towards its near neighbours, so that rows of one density peak gather.

    Mean-shift on the graph of nearest neighbours (Fukunaga & Hostetler 1975; as label-free smoothing of
    embeddings: Wu et al., Simplifying Graph Convolutional Networks, ICML 2019). In a sentence encoder's space the
    ways of saying one thing lie beside one another; their common neighbours join them.

    Parameters
    ----------
    rows
        (n, k) float32, unit rows.
    neighbours, distances
        From `nearest` of the same rows.
    least
        Cosine below which a neighbour has no say.
    times
        Rounds; 0 returns the rows.

    Returns
    -------
    (n, k) float32 unit rows.
    """
    n, count = neighbours.shape
    cosines = 1.0 - distances.astype(np.float64) ** 2 / 2
    counts = cosines >= least
    weights: Any = sparse.csr_matrix(
        (cosines[counts], (np.repeat(np.arange(n), count)[counts.ravel()], neighbours[counts])), shape=(n, n)
    )
    weights = weights.maximum(weights.T) + sparse.eye(n, format="csr")
    weights = sparse.diags(1.0 / np.asarray(weights.sum(axis=1)).ravel()) @ weights
    for _ in range(times):
        rows = unit_rows(weights @ rows)
    return rows
