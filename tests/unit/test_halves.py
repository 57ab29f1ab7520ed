"""Cutting a group in two: what is plainly two comes apart, always the same way."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.halves import halve


def group(axis: int, count: int, seed: int) -> npt.NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    rows = np.eye(8)[axis] + 0.2 * rng.standard_normal((count, 8))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


@pytest.mark.parametrize(("first", "second"), [(12, 5), (5, 12), (6, 6)])
def test_two_matters_come_apart_and_the_smaller_leaves(first: int, second: int) -> None:
    away = halve(np.concatenate([group(0, first, 1), group(1, second, 2)]))
    expected = [first < second] * first + [second <= first] * second
    assert away.tolist() == expected


@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_equal_messages_do_not_come_apart(count: int) -> None:
    assert not halve(np.tile(group(0, 1, 1), (count, 1))).any()


@given(seed=st.integers(0, 2**16), count=st.integers(2, 40))
def test_the_cut_is_one_and_leaves_both_halves_some(seed: int, count: int) -> None:
    rows = group(seed % 8, count, seed)
    away = halve(rows)
    assert (away == halve(rows.copy())).all()
    assert 0 < away.sum() <= count / 2
