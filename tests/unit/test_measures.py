"""The measures, on cases that a person can count."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluation.measures import Raised, measure, quantile, subject

GOLD: list[str | None] = [*"aaaa", *"bbbb", *"cc", None, None]
"""Two groups of four, one too small, two of noise."""


def test_two_right_a_duplicate_and_a_false_one() -> None:
    raised = [
        Raised(4, (0, 1, 2), (0, 1, 2, 3)),
        Raised(8, (4, 5, 6), (4, 5, 6)),
        Raised(9, (7, 4, 5), (7, 4, 5)),
        Raised(12, (8, 9, 10), (8, 9, 10)),
    ]
    found = ["1", "1", "1", "1", "2", "2", "2", "3", "4", "4", "4", None]
    got = measure(GOLD, found, raised, 4)
    assert got.ticket_f1 == pytest.approx(2 * 2 / (4 + 2))
    assert (got.precision, got.recall) == (0.75, 1.0)
    assert got.duplicates == pytest.approx(1 / 3)
    assert (got.tickets, got.groups, got.false_tickets) == (4, 2, 1)
    assert (got.pure_at_opening, got.coverage, got.noise_rejected) == (0.75, 1.0, 0.5)
    assert (got.delay_median, got.delay_p90) == (1.0, 1.0)


def test_seventy_percent_at_both_ends_and_of_one_group() -> None:
    gold: list[str | None] = [*"aaaaaaaaaa", *"bbbbbbbbbb"]
    seven = (*range(7), 10, 11, 12)
    six = (*range(6), 10, 11, 12, 13)
    assert subject(seven, gold, {"a", "b"}) == "a"
    assert subject(six, gold, {"a", "b"}) is None
    assert subject(seven, gold, {"b"}) is None
    assert subject((), gold, {"a"}) is None
    none: list[str | None] = [None] * 20
    # pure at its opening and spoilt at the end, spoilt and then pure, another matter, merged away: none is right
    for ticket in (
        Raised(10, tuple(range(7)), six),
        Raised(10, six, tuple(range(7))),
        Raised(20, tuple(range(8)), tuple(range(10, 18))),
        Raised(10, tuple(range(7)), ()),
    ):
        got = measure(gold, none, [ticket], 10)
        assert (got.ticket_f1, got.precision, got.false_tickets) == (0.0, 0.0, 1)


def test_an_unticketed_group_is_infinitely_late() -> None:
    gold: list[str | None] = [*"ababababab"]
    ticket = Raised(7, (0, 2, 4), (0, 2, 4, 6, 8))
    one = measure(gold, [None] * 10, [ticket], 4)
    assert (one.groups, one.delay_median, one.delay_p90) == (2, math.inf, math.inf)
    # four messages of "a" had come when it opened
    alone = measure(["a", *[None] * 3, "a", "a", "a"], [None] * 7, [Raised(6, (0, 4), (0, 4))], 4)
    assert (alone.delay_median, alone.delay_p90) == (0.75, 0.75)
    assert (quantile([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 0.9), quantile([], 0.9)) == (9, math.inf)


def test_nothing_is_nothing() -> None:
    got = measure([], [], [], 10)
    assert (got.ticket_f1, got.precision, got.noise_rejected, got.delay_median) == (0.0, 0.0, None, math.inf)
    noise = measure([None] * 5, ["1"] * 5, [Raised(5, (0, 1, 2), (0, 1, 2))], 2)
    assert (noise.false_tickets, noise.noise_rejected, noise.coverage) == (1, 0.0, 0.0)


@given(
    gold=st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=40),
    data=st.data(),
    threshold=st.integers(1, 6),
)
def test_shares_are_shares_and_a_perfect_run_is_perfect(
    gold: list[str | None], data: st.DataObject, threshold: int
) -> None:
    places = st.lists(st.integers(0, len(gold) - 1), max_size=8, unique=True).map(tuple)
    raised = data.draw(st.lists(st.builds(Raised, st.integers(0, len(gold)), places, places), max_size=6))
    got = measure(gold, gold, raised, threshold)
    for value in (got.ticket_f1, got.precision, got.recall, got.duplicates, got.pure_at_opening, got.coverage):
        assert 0 <= value <= 1
    assert got.precision <= got.pure_at_opening
    assert got.false_tickets + round(got.precision * got.tickets) == got.tickets
    groups = {group for group in gold if group is not None and gold.count(group) >= threshold}
    own = {group: tuple(place for place, one in enumerate(gold) if one == group) for group in groups}
    best = measure(gold, gold, [Raised(len(gold), each, each) for each in own.values()], threshold)
    assert (best.ticket_f1, best.false_tickets, best.duplicates) == (1.0 if groups else 0.0, 0, 0.0)
    assert best.ticket_f1 >= got.ticket_f1
