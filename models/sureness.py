"""How much of a piece a cluster must be before it may open, in a space with so many clusters; pure.

Two matters that were taken for one have a cohesion (`models.geometry.cohesion`) somewhat below that of either, and the
nearer the two lie, the less it is below. Where a community speaks of a dozen matters, what is next to one of them lies
far away, and a mixture shows; where it speaks of a hundred, the next one is near, and only what is very much of a
piece is one. So what is asked rises with the number of clusters that a space has, from one plateau to another.
"""

from __future__ import annotations

import math
from typing import Final

ROOMY: Final = 30
"""Clusters up to which a space is roomy."""
CROWDED: Final = 60
"""Clusters from which on it is crowded. These and the two cohesions were chosen on customers' messages: two whole sets,
of about 60 and 77 matters, samples of 20 to 40 matters drawn from them, and the archive that ships."""


def cohesion_needed(clusters: int, roomy: float, crowded: float) -> float:
    """Return the cohesion from which on a cluster is of a piece.

    Parameters
    ----------
    clusters
        Live clusters of the space, >= 0.
    roomy, crowded
        Needed up to `ROOMY` clusters, and from `CROWDED` on; between, in proportion to the logarithm of their number.
    """
    share = math.log(max(clusters, 1) / ROOMY) / math.log(CROWDED / ROOMY)
    return roomy + (crowded - roomy) * min(1.0, max(0.0, share))
