"""Groups on the sphere: planted ones are found, leftovers are not, edges do not break it."""

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.clusterer import ClusterFit, DensityClusterer
from models.geometry import attach_threshold, centre, centroids, held, main_axes, unit_rows

DIMENSIONS = 384


def planted(sizes: list[int], noise: int, spread: float = 0.25, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Clusters around random directions, all pulled to one side as sentences are; truth -1 for noise."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=DIMENSIONS)
    directions = rng.normal(size=(len(sizes), DIMENSIONS))
    truth = np.concatenate([np.repeat(np.arange(len(sizes)), sizes), np.full(noise, -1)]).astype(int)
    points = rng.normal(size=(len(truth), DIMENSIONS))
    points[truth >= 0] = directions[truth[truth >= 0]] + spread * points[truth >= 0]
    order = rng.permutation(len(truth))
    return unit_rows(points + 0.7 * common)[order], truth[order]


def partition(labels: np.ndarray) -> tuple[set[frozenset[int]], frozenset[int]]:
    """Groups as sets of rows, and the noise: labels compared up to their names."""
    groups = {frozenset(np.flatnonzero(labels == name).tolist()) for name in set(labels.tolist()) - {-1}}
    return groups, frozenset(np.flatnonzero(labels == -1).tolist())


def test_planted_clusters_are_found_exactly_and_noise_is_rejected() -> None:
    vectors, truth = planted([40, 30, 25, 15, 12], noise=120)
    fit = DensityClusterer().fit(vectors)
    assert partition(fit.labels) == partition(truth)
    assert fit.labels.dtype == np.int32
    assert np.bincount(fit.labels[fit.labels >= 0]).tolist() == [40, 30, 25, 15, 12]  # biggest first
    np.testing.assert_allclose(fit.mean, vectors.mean(axis=0), atol=1e-6)


def test_left_over_noise_is_no_group_because_of_cohesion() -> None:
    vectors, truth = planted([40, 30, 25, 15, 12], noise=120)
    loose = DensityClusterer(min_cohesion=-1.0).fit(vectors).labels
    assert np.bincount(loose[truth == -1] + 1).argmax() > 0  # HDBSCAN alone makes a group of it
    assert set(DensityClusterer().fit(vectors).labels[truth == -1].tolist()) == {-1}


def test_groups_below_the_minimum_size_are_noise_until_it_is_lowered() -> None:
    vectors, truth = planted([40, 30, 6], noise=60, seed=3)
    default = DensityClusterer().fit(vectors)
    assert set(default.labels[truth == 2].tolist()) == {-1}
    small = DensityClusterer(min_cluster_size=5).fit(vectors)
    assert partition(small.labels) == partition(truth)


def test_merge_joins_two_halves_of_one_direction_only_when_asked() -> None:
    vectors, truth = planted([40, 40, 40, 40], noise=0, spread=0.05, seed=1)
    first = truth == 0
    side = unit_rows(np.random.default_rng(2).normal(size=(1, DIMENSIONS)))[0]
    sign = np.zeros(len(vectors))
    sign[np.flatnonzero(first)] = np.repeat([1.0, -1.0], 20)
    # 2 x .15 apart: cosine distance about 2 x .15 squared = .05, more once the common direction is out
    vectors = unit_rows(vectors + 0.15 * sign[:, None] * side)
    apart = DensityClusterer(merge_distance=0.0).fit(vectors).labels
    together = DensityClusterer().fit(vectors).labels
    assert len(set(apart.tolist()) - {-1}) == 5
    assert len(set(together.tolist()) - {-1}) == 4
    assert len(set(together[first].tolist())) == 1


def test_order_of_messages_only_renames_labels() -> None:
    vectors, _ = planted([40, 30, 25], noise=80, seed=5)
    order = np.random.default_rng(6).permutation(len(vectors))
    straight = DensityClusterer().fit(vectors).labels
    shuffled = np.empty_like(straight)
    shuffled[order] = DensityClusterer().fit(vectors[order]).labels
    assert partition(straight) == partition(shuffled)


def test_duplicates_share_a_label() -> None:
    vectors, truth = planted([20, 20, 20], noise=40, seed=7)
    twice = np.concatenate([vectors, vectors])
    labels = DensityClusterer().fit(twice).labels
    assert np.array_equal(labels[: len(vectors)], labels[len(vectors) :])
    assert {frozenset(np.flatnonzero(truth == name)) for name in range(3)} <= partition(labels[: len(truth)])[0]


def test_fit_is_repeatable_survives_pickling_and_leaves_its_input_alone() -> None:
    vectors, _ = planted([30, 20], noise=30, seed=8)
    before = vectors.copy()
    clusterer = DensityClusterer(min_cluster_size=7)
    first = clusterer.fit(vectors)
    again: DensityClusterer = pickle.loads(pickle.dumps(clusterer))
    second: ClusterFit = pickle.loads(pickle.dumps(again.fit(vectors)))
    assert again == clusterer
    np.testing.assert_array_equal(first.labels, second.labels)
    np.testing.assert_array_equal(first.mean, second.mean)
    np.testing.assert_array_equal(vectors, before)


@pytest.mark.parametrize("count", [0, 1, 2, 9])
def test_too_few_messages_are_all_noise(count: int) -> None:
    vectors, _ = planted([12], noise=0)
    fit = DensityClusterer().fit(vectors[:count])
    assert fit.labels.tolist() == [-1] * count
    assert fit.mean.tolist() == [0.0] * DIMENSIONS


@pytest.mark.parametrize("count", [10, 50])
def test_identical_messages_are_one_group_and_can_be_compared_afterwards(count: int) -> None:
    vectors = np.repeat(planted([1], noise=0)[0], count, axis=0)
    fit = DensityClusterer().fit(vectors)
    assert fit.labels.tolist() == [0] * count
    centred = centre(vectors, fit.mean)
    np.testing.assert_allclose(centred @ centroids(centred, fit.labels, 1)[0], 1.0, atol=1e-6)


def test_fewer_messages_than_dimensions_and_than_axes() -> None:
    vectors, truth = planted([11, 11], noise=0, seed=9)
    assert partition(DensityClusterer().fit(vectors).labels) == partition(truth)


@pytest.mark.parametrize("selection", ["eom", "leaf"])
@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_smallest_settings_run(count: int, selection: Any) -> None:
    vectors, _ = planted([0], noise=count)
    labels = DensityClusterer(min_cluster_size=2, min_samples=9, selection=selection).fit(vectors).labels
    assert labels.shape == (count,)


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_cluster_size": 1},
        {"min_samples": 0},
        {"merge_distance": -0.1},
        {"dimensions": 0},
        {"selection": "x"},
        {"min_cohesion": 2.0},
    ],
)
def test_settings_that_cannot_run_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        DensityClusterer(**wrong)


def test_vectors_that_are_not_numbers_or_not_rows_are_refused() -> None:
    vectors, _ = planted([20], noise=0)
    vectors[3, 5] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        DensityClusterer().fit(vectors)
    with pytest.raises(ValueError, match=r"\(n, d\)"):
        DensityClusterer().fit(vectors[0])


def test_unit_rows_has_no_nan() -> None:
    rows = unit_rows(np.array([[3.0, 4.0], [0.0, 0.0], [1e-7, 0.0]]))
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0.0, 0.0], [0.0, 0.0]], rtol=1e-6)


def test_centre_subtracts_the_mean_and_normalises() -> None:
    vectors = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
    expected = np.array([[1, -1], [-1, 1]]) / np.sqrt(2)
    np.testing.assert_allclose(centre(vectors, np.array([0.5, 0.5])), expected, rtol=1e-6)
    np.testing.assert_array_equal(centre(vectors, np.zeros(2)), vectors)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 20), st.integers(0, 2**32 - 1))
def test_main_axes_are_orthonormal_with_a_fixed_sign(n: int, d: int, count: int, seed: int) -> None:
    rows = np.random.default_rng(seed).normal(size=(n, d))
    axes = main_axes(rows, count)
    assert axes.shape == (d, min(n, d, count))
    np.testing.assert_allclose(axes.T @ axes, np.eye(axes.shape[1]), atol=1e-5)
    assert all(axis[np.argmax(np.abs(axis))] > 0 for axis in axes.T)


def test_main_axes_come_widest_first() -> None:
    rows = np.array([[3.0, 0, 0], [-3, 0, 0], [0, 0, 2], [0, 0, -2], [0, 1, 0], [0, -1, 0]])
    np.testing.assert_allclose(main_axes(rows, 2).T, [[1, 0, 0], [0, 0, 1]], atol=1e-7)


def test_centroids_leave_noise_out() -> None:
    vectors = np.array([[1, 0], [0, 1], [0, -1], [1, 0]], dtype=np.float32)
    found = centroids(vectors, np.array([0, 0, -1, 2]), 3)
    np.testing.assert_allclose(found, [[0.70710678, 0.70710678], [0.0, 0.0], [1.0, 0.0]], rtol=1e-6)


def test_attach_threshold_is_the_outer_tenth_or_the_floor() -> None:
    assert attach_threshold(np.array([])) == 0.6
    assert attach_threshold(np.linspace(0.7, 0.9, 11)) == pytest.approx(0.72)
    assert attach_threshold(np.array([0.1, 0.2, 0.9])) == 0.6
    assert attach_threshold(np.array([0.1, 0.2, 0.9]), floor=0.0, quantile=0.5) == pytest.approx(0.2)


@given(st.lists(st.floats(-1, 1, width=32), max_size=30), st.floats(0, 1))
def test_attach_threshold_is_in_range(similarities: list[float], floor: float) -> None:
    assert floor <= attach_threshold(np.array(similarities, dtype=np.float32), floor) <= 1.0


def at_degrees(*angles: float) -> np.ndarray:
    radians = np.deg2rad(angles)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def test_hold_opens_by_size_and_names_the_closest_open_cluster() -> None:
    # .55 is 56.6 degrees; 30 is near 0 and 80, and nearer to 0
    answer = held(at_degrees(0, 30, 80, 180), sizes=[50, 40, 60, 10])
    assert answer.tolist() == [-1, 0, -1, -1]
    assert answer.dtype == np.int32


def test_hold_never_closes_what_is_open() -> None:
    answer = held(at_degrees(0, 5, 11), sizes=[10, 99, 50], opened_order=[2, 0])
    assert answer.tolist() == [-1, 0, -1]


def test_hold_ties_in_size_go_to_the_first_and_threshold_is_inclusive() -> None:
    assert held(at_degrees(0, 10), sizes=[5, 5]).tolist() == [-1, 0]
    right_angle = np.eye(2, dtype=np.float32)
    assert held(right_angle, sizes=[5, 5], threshold=0.0).tolist() == [-1, 0]
    assert held(right_angle, sizes=[5, 5], threshold=0.01).tolist() == [-1, -1]
    assert held(np.zeros((0, 2), dtype=np.float32), sizes=[]).tolist() == []


@settings(max_examples=60)
@given(st.data())
def test_hold_keeps_open_clusters_apart_and_held_ones_near(data: st.DataObject) -> None:
    k = data.draw(st.integers(1, 12))
    rows = unit_rows(np.random.default_rng(data.draw(st.integers(0, 9999))).normal(size=(k, 3)))
    sizes = data.draw(st.lists(st.integers(1, 50), min_size=k, max_size=k))
    answer = held(rows, sizes)
    cosines = rows.astype(float) @ rows.astype(float).T
    opened = np.flatnonzero(answer == -1)
    assert all(cosines[a, b] < 0.55 for a in opened for b in opened if a != b)
    for one in np.flatnonzero(answer >= 0):
        assert answer[answer[one]] == -1
        assert cosines[one, answer[one]] >= 0.55
        assert sizes[answer[one]] >= sizes[one]
