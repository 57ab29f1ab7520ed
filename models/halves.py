"""Two halves of one group of messages, for a person who finds that it mixes two matters."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

STEPS: Final = 30
"""Rounds of k-means; it settles in far fewer."""


def halve(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Cut messages in two by spherical 2-means, started from the longest axis through them: no chance is involved.

    Parameters
    ----------
    vectors : array (n, d) of float
        Unit rows.

    Returns
    -------
    array (n,) of bool
        True for the smaller half, or the one without the first message where both are as large; all False when
        nothing tells the messages apart.
    """
    rows = np.asarray(vectors, np.float64)
    if len(rows) < 2:
        return np.zeros(len(rows), np.bool_)
    centred = rows - rows.mean(axis=0)
    if np.abs(centred).max() < 1e-6:
        return np.zeros(len(rows), np.bool_)
    axis = np.linalg.svd(centred, full_matrices=False)[2][0]
    side = centred @ axis > 0
    for _ in range(STEPS):
        if side.all() or not side.any():
            break
        centres = [_unit(centred[part].mean(axis=0)) for part in (side, ~side)]
        moved = centred @ centres[0] > centred @ centres[1]
        if (moved == side).all():
            break
        side = moved
    if side.all() or not side.any():
        return np.zeros(len(rows), np.bool_)
    half = int(side.sum())
    turned = 2 * half > len(rows) or (2 * half == len(rows) and bool(side[0]))
    return np.asarray(~side if turned else side, np.bool_)


def _unit(vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    scaled: npt.NDArray[np.float64] = vector / max(float(np.linalg.norm(vector)), 1e-12)
    return scaled
