"""What an established cluster keeps and loses, and what it takes for one to be established."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.geometry import cohesion
from pipeline.entries import Vector
from pipeline.establishing import TAKE_COSINE
from pipeline.fold import SpaceState
from pipeline.refit import LEAVE_COSINE
from pipeline.state import Lineage, Status
from tests.standins.space_stream import SMALL, SPACE
from tests.standins.space_tale import Tale, unit


def at_cosine(cosine: float, towards: int = 5) -> Vector:
    """Return a unit vector at this cosine to axis 0."""
    return np.asarray(cosine * unit(0) + np.sqrt(1 - cosine**2) * unit(towards), np.float32)


def at_cosine_to_mean(cosine: float, those: int, these: int) -> float:
    """Return the cosine to axis 0 of `these` messages whose middle has `cosine` to that of all, `those` on axis 0."""
    grid = np.linspace(-1, 1, 20_001)
    along, beside = those + these * grid, these * np.sqrt(1 - grid**2)
    found = (along * grid + beside * np.sqrt(1 - grid**2)) / np.hypot(along, beside)
    return float(grid[np.argmin(np.abs(found - cosine))])


@pytest.fixture
def tale() -> Tale:
    """Ten messages that say one thing, established."""
    one = Tale()
    for number in range(10):
        one.say(f"a{number}", 0)
    one.fit({"a": 0})
    one.fit({"a": 0})
    assert one.home("a0").established_seq == one.state.seq
    return one


@pytest.mark.parametrize(("cosine", "stays"), [(LEAVE_COSINE + 0.05, True), (LEAVE_COSINE - 0.1, False)])
def test_an_established_cluster_loses_only_what_lies_far_from_it(tale: Tale, cosine: float, *, stays: bool) -> None:
    tale.say("x0", vector=at_cosine(0.9))
    tale.fit({"a": 0, "x": 0})
    assert tale.home("x0") is tale.home("a0")
    # what was said moves nothing by itself, a fit's view of it does: so the vector changes under the fold
    before, after = tale["x0"].vector, at_cosine(cosine)
    tale["x0"].vector = after
    tale.home("a0").total += after.astype(float) - before
    tale.fit({"a": 0})
    assert (tale["x0"].status is Status.CLUSTERED) is stays


def test_what_the_fit_calls_noise_leaves_a_cluster_that_is_not_established() -> None:
    tale = Tale()
    for number in range(10):
        tale.say(f"a{number}", 0)
    for number in range(2):
        tale.say(f"b{number}", vector=at_cosine(0.55))
    tale.fit({"a": 0, "b": 0})
    assert (tale.home("b0"), tale.home("a0").established_seq) == (tale.home("a0"), None)
    tale.fit({"a": 0})
    assert tale["b0"].status is Status.POOL


@pytest.mark.parametrize(("cosine", "taken"), [(TAKE_COSINE + 0.05, True), (TAKE_COSINE - 0.1, False)])
def test_an_established_cluster_takes_whole_only_what_lies_near_it(cosine: float, *, taken: bool) -> None:
    tale = Tale()
    for number in range(10):
        tale.say(f"a{number}", 0)
    for number in range(4):
        tale.say(f"b{number}", vector=at_cosine(0.9))
    groups = {"a": 0, "b": 0}
    tale.fit(groups)
    tale.fit(groups)
    cluster = tale.home("a0")
    assert cluster.established_seq is not None
    place = at_cosine(at_cosine_to_mean(cosine, 10, 4))
    for number in range(4):
        member = tale[f"b{number}"]
        cluster.total += place.astype(float) - member.vector
        member.vector = place
    tale.fit({"a": 0, "b": 1})
    assert (tale.home("b0") is cluster) is taken
    assert tale.home("a0") is cluster
    split = [e for e in tale.state.drain().lineage if e.what is Lineage.SPLIT]
    assert len(split) == (not taken)


def test_an_established_cluster_keeps_what_a_fit_would_give_to_another(tale: Tale) -> None:
    for number in range(12):
        tale.say(f"b{number}", 1)
    tale.fit({"b": 0})
    first = tale.home("a0")
    tale.fit({"a": 0, "b": 0})
    assert (tale.home("a0") is first, first.count, tale.home("b0").count) == (True, 10, 12)


@pytest.mark.parametrize(("needed", "parts"), [(0.8, 1), (0.9, 2)])
def test_an_established_cluster_that_is_no_longer_of_a_piece_comes_apart(needed: float, parts: int) -> None:
    tale = Tale()
    for number in range(6):
        tale.say(f"a{number}", 0)
        tale.say(f"b{number}", vector=at_cosine(0.5))
    both = {"a": 0, "b": 0}
    tale.fit(both)
    tale.fit(both)
    mixed = tale.home("a0")
    assert mixed.established_seq is not None
    # Each to the middle of the others: 6 of its own direction, less itself, and 6 at a cosine of .5.
    assert cohesion(np.stack([tale[f"{who}{n}"].vector for who in "ab" for n in range(6)])) == pytest.approx(
        0.8386, abs=1e-4
    )
    tale.state.settings = replace(SMALL, roomy_cohesion=needed)
    tale.fit({"a": 0, "b": 1})
    assert len({tale.home("a0").cluster_id, tale.home("b0").cluster_id}) == parts
    assert mixed.live
    assert mixed.established_seq is not None


def test_an_established_cluster_that_a_fit_does_not_find_stays(tale: Tale) -> None:
    for number in range(12):
        tale.say(f"b{number}", 1)
    tale.fit({"b": 0})
    assert (tale.home("a0").count, tale.home("b0").count) == (10, 12)
    assert tale.home("a0") is not tale.home("b0")


@pytest.mark.parametrize(
    ("settings", "fits"),
    [
        ({}, 2),
        ({"confirming_fits": 4}, 4),
        ({"least_overlap": 0.5}, 3),  # the fit that bears a cluster finds nothing of it again
        ({"established_size": 7}, None),
        ({"roomy_cohesion": 1.1}, None),
        ({"crowded_cohesion": 1.1}, 2),
    ],
)
def test_a_cluster_is_established_once_it_is_sure(settings: dict[str, float], fits: int | None) -> None:
    tale = Tale()
    tale.state = SpaceState(SPACE, replace(SMALL, **settings))  # type: ignore[arg-type]
    for number in range(6):
        tale.say(f"a{number}", 0)
    for done in range(1, 7):
        tale.fit({"a": 0})
        assert (tale.home("a0").established_seq is not None) is (fits is not None and done >= fits)


def test_a_group_that_is_redrawn_is_not_sure_and_growth_is_no_redrawing() -> None:
    tale = Tale()
    tale.state = SpaceState(SPACE, replace(SMALL, least_overlap=0.75))
    for number in range(6):
        tale.say(f"a{number}", 0)
    tale.fit({"a": 0})
    for number in range(6, 16):
        tale.say(f"a{number}", 0)
    tale.fit({"a": 0})
    assert tale.home("a0").overlaps == (0.0, 1.0)
    for number in range(10):
        tale.say(f"b{number}", vector=at_cosine(0.5))
    tale.fit({"a": 0})
    tale.fit({"a": 0, "b": 0})
    np.testing.assert_allclose(tale.home("a0").overlaps, (1.0, 16 / 26))
