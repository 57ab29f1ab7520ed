"""The index of centroids: near enough, clearly nearest, nothing dead in it, and exact whatever the batch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.geometry import View, unit_rows
from pipeline.centroids import SCALE, CentroidIndex, assign, whole
from pipeline.entries import Vector
from pipeline.state import Cluster


def cluster(number: int, centroid: list[float], count: int = 2, threshold: float = 0.5) -> Cluster:
    one = Cluster(str(number), number, 1, np.array(centroid) * count, count, np.zeros(5), threshold)
    one.centroid = np.array(centroid, np.float32)
    return one


def index(*clusters: Cluster) -> CentroidIndex:
    one = CentroidIndex()
    one.rebuild(clusters, View.plain(2))
    return one


V: Vector = np.array([1.0, 0.0], np.float32)


def test_a_centroid_is_the_mean_as_the_view_shows_it() -> None:
    own, one = CentroidIndex(), cluster(1, [0.0, 1.0])
    with pytest.raises(ValueError, match="no fit yet"):
        own.settle(one)
    own.rebuild([one], View(np.array([0.0, 1.0], np.float32), np.eye(2, dtype=np.float32)))
    one.total = np.array([2.0, 2.0])
    own.settle(one)
    assert one.centroid is not None
    np.testing.assert_allclose(one.centroid, [1.0, 0.0])


def test_nearest_needs_threshold_and_margin() -> None:
    one, two = cluster(1, [1.0, 0.0]), cluster(2, [0.94868, 0.31623])
    assert index(one).nearest(V, 0.05) is one
    assert index(cluster(1, [0.6, 0.8], threshold=0.61)).nearest(V, 0.05) is None
    assert index(one, two).nearest(V, 0.05) is one
    assert index(one, two).nearest(V, 0.06) is None
    assert CentroidIndex().nearest(V, 0.0) is None


def test_an_emptied_cluster_shadows_nobody_and_what_was_foreseen_is_forgotten() -> None:
    one, two, three = cluster(1, [1.0, 0.0]), cluster(2, [0.94868, 0.31623]), cluster(3, [0.0, 1.0])
    own = index(one, two, three)
    own.foresee([V])
    assert own.nearest(V, 0.05) is one
    one.count = 0
    own.drop(one)
    assert own.nearest(V, 0.05) is two


def test_centroids_stand_still_while_members_come_and_go() -> None:
    one = cluster(1, [1.0, 0.0])
    own = index(one)
    one.total, one.count = np.array([0.0, 9.0]), 9
    assert own.nearest(V, 0.0) is one


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 40), st.integers(1, 64))
def test_a_place_is_the_same_alone_and_among_others_and_as_whole_numbers_give_it(
    seed: int, n: int, c: int, k: int
) -> None:
    rng = np.random.default_rng(seed)
    rows, middles = (whole(unit_rows(rng.normal(size=(count, k)))) for count in (n, c))
    together = assign(rows, middles)
    assert together == [place for row in rows for place in assign(row[None, :], middles)]
    products = rows.astype(np.int64) @ middles.astype(np.int64).T
    for line, (best, first, second) in zip(products, together, strict=True):
        assert best == int(line.argmax())
        assert first == line[best] / SCALE**2
        others = np.delete(line, best)
        assert second == (max(-1.0, others.max() / SCALE**2) if len(others) else -1.0)


def test_a_place_among_twenty_thousand_does_not_depend_on_its_batch() -> None:
    rng = np.random.default_rng(1)
    rows, middles = (whole(unit_rows(rng.normal(size=(count, 64)))) for count in (600, 20_000))
    rows[300:] = rows[:300]  # the same message in another chunk
    together = assign(rows, middles)
    assert together[:300] == together[300:]
    assert together[:7] == [place for row in rows[:7] for place in assign(row[None, :], middles)]
    assert together[5:300] == assign(rows[5:300], middles)
    products = rows[:50].astype(np.int64) @ middles.astype(np.int64).T
    assert [place[1] for place in together[:50]] == (products.max(axis=1) / SCALE**2).tolist()


@given(st.integers(0, 2**32 - 1), st.integers(2, 30))
def test_foreseen_and_looked_up_alone_agree(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = list(unit_rows(rng.normal(size=(n, 2))))
    own = index(*(cluster(i, list(unit_rows(rng.normal(size=(1, 2)))[0])) for i in range(5)))
    alone = [own.nearest(vector, 0.02) for vector in vectors]
    own.foresee(vectors)
    assert [own.nearest(vector, 0.02) for vector in vectors] == alone
