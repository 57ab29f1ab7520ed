"""The index of centroids: near enough, clearly nearest, and nothing dead in it."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.centroids import CentroidIndex, unit
from pipeline.state import Cluster


def cluster(number: int, total: list[float], count: int = 2, threshold: float = 0.5) -> Cluster:
    return Cluster(str(number), number, 1, np.array(total), count, np.zeros(5), threshold)


def index(*clusters: Cluster, mean: tuple[float, ...] = (0.0, 0.0)) -> CentroidIndex:
    one = CentroidIndex()
    one.rebuild(clusters, np.array(mean, np.float32))
    return one


V = np.array([1.0, 0.0], np.float32)


def test_unit_scales_rows_and_leaves_zeros() -> None:
    np.testing.assert_allclose(unit(np.array([[3, 4], [0, 0]], np.float32)), np.array([[0.6, 0.8], [0.0, 0.0]]))


def test_a_centroid_is_seen_from_the_mean() -> None:
    np.testing.assert_allclose(index(mean=(0.0, 1.0)).of(cluster(1, [2.0, 2.0])), [1.0, 0.0])
    with pytest.raises(ValueError, match="no fit yet"):
        CentroidIndex().of(cluster(1, [1.0, 0.0]))


def test_nearest_needs_threshold_and_margin() -> None:
    one, two = cluster(1, [2.0, 0.0]), cluster(2, [1.8, 0.6])
    assert index(one).nearest(V, 0.05) is one
    assert index(cluster(1, [1.2, 1.6], threshold=0.61)).nearest(V, 0.05) is None
    assert index(one, two).nearest(V, 0.05) is one
    assert index(one, two).nearest(V, 0.06) is None
    assert CentroidIndex().nearest(V, 0.0) is None


def test_an_emptied_cluster_shadows_nobody_and_the_others_keep_their_rows() -> None:
    one, two, three = cluster(1, [2.0, 0.0]), cluster(2, [1.8, 0.6]), cluster(3, [0.0, 2.0])
    own = index(one, two, three)
    one.count = 0
    own.refresh(one)
    assert own.nearest(V, 0.05) is two
    three.total = np.array([2.0, 0.0])
    own.refresh(three)
    np.testing.assert_allclose(own.similarities(V), [0.94868, 1.0], rtol=1e-4)
    fresh = index(two, three)
    np.testing.assert_array_equal(own.similarities(V), fresh.similarities(V))
