"""What is asked of a cluster's cohesion, by how crowded its space is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.sureness import CROWDED, ROOMY, cohesion_needed


@pytest.mark.parametrize(
    ("clusters", "needed"),
    [(0, 0.6), (1, 0.6), (ROOMY, 0.6), (42, 0.6874), (CROWDED, 0.78), (5_000, 0.78)],
)
def test_it_rises_with_the_logarithm_of_the_number_of_clusters(clusters: int, needed: float) -> None:
    assert cohesion_needed(clusters, 0.6, 0.78) == pytest.approx(needed, abs=1e-4)


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_more_clusters_never_ask_less(one: int, other: int) -> None:
    fewer, more = sorted((one, other))
    assert 0.6 <= cohesion_needed(fewer, 0.6, 0.78) <= cohesion_needed(more, 0.6, 0.78) <= 0.78
