"""Nearest neighbours against brute force, copies of one text included."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.clusterer import _spanning_tree
from models.geometry import unit_rows
from models.neighbours import nearest, smoothed

SEEDS = st.integers(0, 2**32 - 1)


def some(seed: int, n: int, copies: int, dimensions: int = 6) -> np.ndarray:
    """Rows of which the first stands there `copies` times more."""
    rows = unit_rows(np.random.default_rng(seed).normal(size=(n, dimensions)))
    return np.concatenate([rows, np.repeat(rows[:1], copies, axis=0)])


@settings(deadline=None)  # the first call imports scikit-learn
@given(SEEDS, st.integers(2, 40), st.integers(0, 12), st.integers(1, 50))
def test_nearest_is_what_brute_force_finds(seed: int, n: int, copies: int, count: int) -> None:
    rows = some(seed, n, copies)
    indices, distances = nearest(rows, count)
    between = np.linalg.norm(rows[:, None, :].astype(float) - rows[None, :, :], axis=2)
    np.fill_diagonal(between, np.inf)
    wanted = min(count, len(rows) - 1)
    assert indices.shape == distances.shape == (len(rows), wanted)
    assert not (indices == np.arange(len(rows))[:, None]).any()
    assert all(len(set(line)) == wanted for line in indices.tolist())
    # 1e-3: scikit-learn takes distances as differences of squares, which is rough near zero
    np.testing.assert_allclose(distances, np.sort(between, axis=1)[:, :wanted], atol=1e-3)
    np.testing.assert_allclose(np.take_along_axis(between, indices, axis=1), distances, atol=1e-3)


@settings(deadline=None)
@given(SEEDS, st.integers(2, 30), st.integers(0, 8), st.integers(0, 3))
def test_smoothed_is_the_mean_of_near_neighbours_and_oneself(seed: int, n: int, copies: int, times: int) -> None:
    rows = some(seed, n, copies, 3)
    indices, distances = nearest(rows, 4)
    expected = rows.astype(float)
    cosines = 1 - distances.astype(float) ** 2 / 2
    weights = np.eye(len(rows))
    for one, (line, near) in enumerate(zip(indices.tolist(), cosines.tolist(), strict=True)):
        for other, cosine in zip(line, near, strict=True):
            if cosine >= 0.6:
                weights[one, other] = weights[other, one] = max(cosine, weights[one, other], weights[other, one])
    for _ in range(times):
        expected = weights @ expected
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(smoothed(rows, indices, distances, least=0.6, times=times), expected, atol=1e-5)


@settings(deadline=None)
@given(SEEDS, st.integers(2, 40), st.integers(0, 30), st.integers(1, 6), st.integers(1, 8))
def test_the_spanning_tree_joins_all_rows_once_whatever_it_sees(
    seed: int, n: int, copies: int, samples: int, reach: int
) -> None:
    rows = some(seed, n, copies)
    tree = _spanning_tree(rows, samples, reach)
    assert tree.shape == (len(rows) - 1, 3)
    assert (np.diff(tree[:, 2]) >= 0).all()
    part = list(range(len(rows)))
    for one, other in tree[:, :2].astype(int).tolist():
        assert part[one] != part[other]  # no ring
        old, new = part[one], part[other]
        part = [new if place == old else place for place in part]
    assert len(set(part)) == 1
