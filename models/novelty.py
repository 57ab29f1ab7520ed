"""Whether a cluster is a matter of its own, or one that already has a ticket, said in another way.

Merging two clusters that are different spoils a ticket; opening two that are the same repeats one; holding back the
unsure one spoils nothing. So a cluster opens only where it is probably new. The chance that two clusters are one
matter is a logistic function of their centroids' cosine (Platt 1999, as calibrated by people's answers:
`pipeline.answers`), and every established cluster around is a possible twin of its own: noisy-or (Pearl 1988). In a
crowded neighbourhood a cluster must lie further out than beside a single neighbour, which is what lets one setting
serve communities of narrow and of wide matters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from models.geometry import Labels, unit_rows

SAME_MIDPOINT: Final = 0.55
"""Cosine at which two clusters are as likely one matter as two. Chosen, like the rest here, on two sets of customers'
messages; on both, pairs of pure groups at .65 to .7 are one matter in half of the cases."""
SAME_SLOPE: Final = 7.0
"""Of the logistic function: at .2 above the midpoint four of five are one matter."""
LEAST_NEW: Final = 0.4
"""Chance of being new from which on a cluster opens beside its neighbours."""
NEIGHBOUR_FLOOR: Final = 0.3
"""Cosine below which an established cluster is no neighbour: a thousand far ones must not add up to a near one."""


def chance_same(
    cosines: npt.NDArray[np.floating], midpoint: float = SAME_MIDPOINT, slope: float = SAME_SLOPE
) -> npt.NDArray[np.float64]:
    """Return the chance that clusters with centroids at these cosines, (m,), are one matter, each (m,) 0 to 1."""
    return np.asarray(1.0 / (1.0 + np.exp(-slope * (np.asarray(cosines, np.float64) - midpoint))), np.float64)


def chance_new(cosines: npt.NDArray[np.floating], midpoint: float = SAME_MIDPOINT, slope: float = SAME_SLOPE) -> float:
    """Return the chance that a cluster is none of the matters at these cosines.

    Parameters
    ----------
    cosines
        (m,) float, -1 to 1, of its centroid to those of the established clusters; m >= 0.
    midpoint, slope
        Of `chance_same`.
    """
    near = np.asarray(cosines, np.float64)
    near = near[near >= NEIGHBOUR_FLOOR]
    return float(np.prod(1.0 - chance_same(near, midpoint, slope)))


def held(
    centroids: npt.NDArray[np.floating],
    sizes: Sequence[int] | npt.NDArray[np.integer],
    opened_order: Sequence[int] = (),
    midpoint: float = SAME_MIDPOINT,
) -> Labels:
    """Which clusters are too likely a matter that is open already to be opened beside it.

    Open clusters are taken first, then the others, biggest first (ties: lowest index).

    Parameters
    ----------
    centroids
        (k, d) float, unit rows, in one view.
    sizes
        (k,) int, messages per cluster.
    opened_order
        Indices of clusters that have a ticket already; they stay open whatever they are close to.
    midpoint
        Of `chance_same`.

    Returns
    -------
    (k,) int32: -1 where the cluster is or may be opened, else the index of the open cluster it is closest to.
    """
    rows = unit_rows(centroids).astype(np.float64)
    cosines = rows @ rows.T
    answer = np.full(len(rows), -1, dtype=np.int32)
    opened = list(dict.fromkeys(opened_order))
    standing = set(opened)
    for candidate in sorted(range(len(rows)), key=lambda index: (-int(sizes[index]), index)):
        if candidate in standing:
            continue
        near = cosines[candidate, opened]
        if opened and chance_new(near, midpoint) < LEAST_NEW:
            answer[candidate] = opened[int(np.argmax(near))]
        else:
            opened.append(candidate)
    return answer
