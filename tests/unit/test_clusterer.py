"""Groups on the sphere: planted ones are found, leftovers are not, edges do not break it."""

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score  # type: ignore[import-untyped]

from models.clusterer import ClusterFit, DensityClusterer, _spanning_tree
from models.geometry import View, attach_threshold, centre, centroids, cohesion, main_axes, unit_rows, view_of
from models.neighbours import nearest, smoothed
from models.novelty import LEAST_NEW, chance_new, chance_same, held

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


def test_planted_clusters_are_found_pure_and_apart_and_noise_is_rejected() -> None:
    vectors, truth = planted([40, 30, 25, 15, 12], noise=120)
    fit = DensityClusterer().fit(vectors)
    assert fit.labels.dtype == np.int32
    for group in range(5):
        own = fit.labels[truth == group]
        (name,) = set(own.tolist()) - {-1}
        assert (own == name).mean() > 0.4
        assert set(truth[fit.labels == name].tolist()) == {group}
    assert (fit.labels[truth == -1] >= 0).mean() < 0.1
    sizes = np.bincount(fit.labels[fit.labels >= 0])
    assert sizes.tolist() == sorted(sizes.tolist(), reverse=True)  # biggest first
    np.testing.assert_allclose(fit.view.mean, vectors.mean(axis=0), atol=1e-6)


def test_left_over_noise_is_less_of_a_group_because_of_cohesion() -> None:
    vectors, truth = planted([40, 30, 25, 15, 12], noise=120)
    loose = DensityClusterer(min_cohesion=-1.0).fit(vectors).labels
    strict = DensityClusterer(min_cohesion=0.9).fit(vectors).labels
    assert (loose[truth == -1] >= 0).sum() > (strict[truth == -1] >= 0).sum()


def test_groups_below_the_minimum_size_are_noise() -> None:
    vectors, truth = planted([40, 30, 6], noise=60, seed=3)
    assert set(DensityClusterer(min_cluster_size=8).fit(vectors).labels[truth == 2].tolist()) == {-1}
    assert set(DensityClusterer(min_cluster_size=3).fit(vectors).labels[truth == 2].tolist()) != {-1}


def test_leaves_that_are_surely_one_are_merged() -> None:
    vectors, truth = planted([40, 40, 40, 40], noise=0, spread=0.05, seed=1)
    apart = DensityClusterer(merge_cosine=1.0).fit(vectors).labels
    together = DensityClusterer().fit(vectors).labels
    assert len(set(apart.tolist())) > len(set(together.tolist()))
    for group in range(4):
        assert len(set(together[truth == group].tolist()) - {-1}) == 1


def test_order_of_messages_hardly_matters() -> None:
    vectors, _ = planted([40, 30, 25], noise=80, seed=5)
    order = np.random.default_rng(6).permutation(len(vectors))
    straight = DensityClusterer().fit(vectors).labels
    shuffled = np.empty_like(straight)
    shuffled[order] = DensityClusterer().fit(vectors[order]).labels
    # Axes differ in their last bits, and two neighbours as far as one another may change places.
    assert adjusted_rand_score(straight, shuffled) > 0.9


def test_copies_stand_together() -> None:
    vectors, truth = planted([20, 20, 20], noise=40, seed=7)
    labels = DensityClusterer().fit(np.concatenate([vectors, vectors])).labels
    assert np.array_equal(labels[: len(vectors)], labels[len(vectors) :])
    assert (labels[: len(truth)][truth >= 0] >= 0).mean() > 0.5


def test_the_spanning_tree_gives_what_hdbscan_gives_where_it_sees_all() -> None:
    """Pins the parts of hdbscan that are called without its front door."""
    import hdbscan  # type: ignore[import-untyped]

    points = unit_rows(planted([15, 12, 9], noise=10, seed=4)[0][:, :20])
    tree = _spanning_tree(points, 3, len(points) - 1)
    assert tree.shape == (len(points) - 1, 3)
    assert (np.diff(tree[:, 2]) >= 0).all()
    own = DensityClusterer(reach=len(points) - 1)._leaves(points)
    theirs = hdbscan.HDBSCAN(
        min_cluster_size=4, min_samples=3, cluster_selection_method="leaf", algorithm="generic"
    ).fit_predict(points.astype(np.float64))
    assert partition(own) == partition(theirs)


def test_parts_that_no_neighbour_joins_are_no_group() -> None:
    far = unit_rows(np.repeat(np.eye(3), 5, axis=0) + 0.01 * np.random.default_rng(0).normal(size=(15, 3)))
    tree = _spanning_tree(far, 2, 3)
    assert (tree[-2:, 2] > 2.0).all()
    assert (tree[:-2, 2] < 0.2).all()


def test_smoothing_gathers_neighbours_and_leaves_the_lonely_alone() -> None:
    rows = unit_rows(np.array([[1, 0.2], [1, -0.2], [0, -1]]))
    indices, distances = nearest(rows, 2)
    assert indices[0].tolist() == [1, 2]
    gathered = smoothed(rows, indices, distances, least=0.6, times=1)
    assert gathered[0] @ gathered[1] > rows[0] @ rows[1]
    np.testing.assert_array_equal(gathered[2], rows[2])
    np.testing.assert_array_equal(smoothed(rows, indices, distances, least=0.6, times=0), rows)


def test_fit_is_repeatable_survives_pickling_and_leaves_its_input_alone() -> None:
    vectors, _ = planted([30, 20], noise=30, seed=8)
    before = vectors.copy()
    clusterer = DensityClusterer(min_cluster_size=7)
    first = clusterer.fit(vectors)
    again: DensityClusterer = pickle.loads(pickle.dumps(clusterer))
    second: ClusterFit = pickle.loads(pickle.dumps(again.fit(vectors)))
    assert again == clusterer
    np.testing.assert_array_equal(first.labels, second.labels)
    np.testing.assert_array_equal(first.view.axes, second.view.axes)
    np.testing.assert_array_equal(vectors, before)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_too_few_messages_are_all_noise(count: int) -> None:
    vectors, _ = planted([12], noise=0)
    fit = DensityClusterer().fit(vectors[:count])
    assert fit.labels.tolist() == [-1] * count
    np.testing.assert_allclose(fit.view.of(vectors[:count]), vectors[:count], atol=1e-6)


@pytest.mark.parametrize("count", [10, 50])
def test_identical_messages_are_one_group_and_can_be_compared_afterwards(count: int) -> None:
    vectors = np.repeat(planted([1], noise=0)[0], count, axis=0)
    fit = DensityClusterer().fit(vectors)
    assert fit.labels.tolist() == [0] * count
    centred = fit.view.of(vectors)
    np.testing.assert_allclose(centred @ centroids(centred, fit.labels, 1)[0], 1.0, atol=1e-6)


def test_fewer_messages_than_dimensions_and_than_axes() -> None:
    vectors, truth = planted([11, 11], noise=0, seed=9)
    assert partition(DensityClusterer().fit(vectors).labels) == partition(truth)


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_smallest_settings_run(count: int) -> None:
    vectors, _ = planted([0], noise=count)
    labels = DensityClusterer(min_cluster_size=2, min_samples=9).fit(vectors).labels
    assert labels.shape == (count,)


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_cluster_size": 1},
        {"min_samples": 0},
        {"merge_cosine": 1.1},
        {"axes": 0},
        {"damping": 1.5},
        {"rounds": -1},
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
    axes, spread = main_axes(rows, count)
    assert (np.diff(spread) <= 1e-9).all()
    assert axes.shape == (d, min(n, d, count))
    np.testing.assert_allclose(axes.T @ axes, np.eye(axes.shape[1]), atol=1e-5)
    assert all(axis[np.argmax(np.abs(axis))] > 0 for axis in axes.T)


def test_main_axes_come_widest_first() -> None:
    rows = np.array([[3.0, 0, 0], [-3, 0, 0], [0, 0, 2], [0, 0, -2], [0, 1, 0], [0, -1, 0]])
    np.testing.assert_allclose(main_axes(rows, 2)[0].T, [[1, 0, 0], [0, 0, 1]], atol=1e-7)


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


def test_cohesion_is_against_the_others() -> None:
    right_angle = np.eye(2)
    assert cohesion(right_angle) == pytest.approx(0.0)  # to the middle of both it would be .71
    assert cohesion(np.repeat(right_angle[:1], 3, axis=0)) == pytest.approx(1.0)
    assert cohesion(right_angle[:1]) == 0.0


@given(st.integers(2, 30), st.integers(2, 20), st.integers(1, 25), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_a_view_shows_a_row_alike_in_any_batch_and_survives_bytes(
    n: int, d: int, axes: int, damping: float, seed: int
) -> None:
    rows = unit_rows(np.random.default_rng(seed).normal(size=(n, d)) + 0.5)
    view = View.frombytes(view_of(rows, axes, damping).tobytes())
    together = view.of(rows)
    assert together.shape[1] <= min(axes, d)
    for place, row in enumerate(rows):
        np.testing.assert_array_equal(view.of(row[None, :])[0], together[place])


def test_damping_evens_the_axes_out() -> None:
    rng = np.random.default_rng(0)
    rows = unit_rows(rng.normal(size=(400, 8)) * np.array([8, 4, 2, 1, 1, 1, 1, 1]))
    plain, damped = (view_of(rows, 8, power).of(rows).var(axis=0) for power in (0.0, 1.0))
    assert plain.max() / plain.min() > 20
    assert damped.max() / damped.min() < 3


def at_degrees(*angles: float) -> np.ndarray:
    radians = np.deg2rad(angles)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def test_hold_opens_by_size_and_names_the_closest_open_cluster() -> None:
    # 30 degrees lie near 0 and near 80, and nearer to 0
    answer = held(at_degrees(0, 30, 80, 180), sizes=[50, 40, 60, 10])
    assert answer.tolist() == [-1, 0, -1, -1]
    assert answer.dtype == np.int32


def test_hold_never_closes_what_is_open() -> None:
    answer = held(at_degrees(0, 5, 11), sizes=[10, 99, 50], opened_order=[2, 0])
    assert answer.tolist() == [-1, 0, -1]


def test_hold_ties_in_size_go_to_the_first() -> None:
    assert held(at_degrees(0, 10), sizes=[5, 5]).tolist() == [-1, 0]
    assert held(np.zeros((0, 2), dtype=np.float32), sizes=[]).tolist() == []


def test_two_neighbours_hold_what_neither_would_alone() -> None:
    alone = np.array([0.55])
    assert chance_same(alone)[0] == pytest.approx(0.5)
    assert chance_new(alone) == pytest.approx(0.5)
    assert chance_new(alone) >= LEAST_NEW > chance_new(np.array([0.55, 0.55]))


@given(st.lists(st.floats(-1, 1), max_size=20), st.floats(-1, 1), st.floats(0.2, 0.9))
def test_the_chance_of_being_new_falls_with_each_near_neighbour_and_not_with_far_ones(
    cosines: list[float], another: float, midpoint: float
) -> None:
    before, after = chance_new(np.array(cosines), midpoint), chance_new(np.array([*cosines, another]), midpoint)
    assert 0.0 <= after <= before <= 1.0
    assert after < before or another < 0.3 or before == 0.0


@settings(max_examples=60)
@given(st.data())
def test_what_is_held_waits_beside_an_open_one(data: st.DataObject) -> None:
    k = data.draw(st.integers(1, 12))
    rows = unit_rows(np.random.default_rng(data.draw(st.integers(0, 9999))).normal(size=(k, 3)))
    sizes = data.draw(st.lists(st.integers(1, 50), min_size=k, max_size=k))
    answer = held(rows, sizes)
    cosines = rows.astype(float) @ rows.astype(float).T
    opened = np.flatnonzero(answer == -1).tolist()
    assert opened
    for one in np.flatnonzero(answer >= 0).tolist():
        assert answer[answer[one]] == -1
        assert cosines[one, answer[one]] == pytest.approx(
            max(cosines[one, b] for b in opened if sizes[b] >= sizes[one])
        )
