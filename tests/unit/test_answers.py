"""A space's own thresholds: exactly the defaults without answers, moved by them, and never far."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.answers import HOLD_LEVEL, MAX_SHIFT, MERGE_LEVEL, Answer, calibrate

HOLD, MERGE = 0.55, 0.8
ANSWERS = st.lists(st.builds(Answer, cosine=st.floats(-1, 1), same=st.booleans()), max_size=60)


def test_without_answers_the_defaults_stand() -> None:
    found = calibrate([], HOLD, MERGE)
    assert (found.hold, found.merge, found.same, found.different) == (HOLD, MERGE, 0, 0)


def test_answers_that_say_what_the_prior_says_change_next_to_nothing() -> None:
    said = [Answer(HOLD, same=n < 50) for n in range(100)] + [Answer(MERGE, same=n < 90) for n in range(100)]
    assert (HOLD_LEVEL, MERGE_LEVEL) == (0.5, 0.9)
    found = calibrate(said, HOLD, MERGE)
    assert (found.hold, found.merge) == pytest.approx((HOLD, MERGE), abs=1e-6)


def test_people_who_separate_what_was_held_let_more_open_and_those_who_merge_hold_more() -> None:
    fine = calibrate([Answer(0.65, same=False)] * 15, HOLD, MERGE)
    coarse = calibrate([Answer(0.5, same=True)] * 15, HOLD, MERGE)
    assert coarse.hold < HOLD - 0.05
    assert fine.hold > HOLD + 0.05
    assert coarse.merge < MERGE < fine.merge


def test_many_answers_outweigh_the_prior() -> None:
    """People whose pairs are the same from .7 on, in a space where nearly all of both sides is asked for."""
    said = [Answer(0.4 + n / 1000, same=n > 300) for n in range(600)]
    found = calibrate(said, HOLD, MERGE)
    assert found.hold == pytest.approx(0.7, abs=0.03)
    assert found.merge == pytest.approx(0.71, abs=0.05)


def test_one_answer_more_moves_a_threshold_its_way() -> None:
    holds = [calibrate([Answer(0.6, same=False)] * n, HOLD, MERGE).hold for n in range(12)]
    assert holds == sorted(holds)
    assert len(set(holds)) == 12


@given(ANSWERS, st.randoms(use_true_random=False))
def test_thresholds_are_bounded_ordered_and_independent_of_the_order_of_answers(
    said: list[Answer], shuffle: random.Random
) -> None:
    found = calibrate(said, HOLD, MERGE)
    assert HOLD - MAX_SHIFT <= found.hold <= HOLD + MAX_SHIFT
    assert found.hold <= found.merge <= 0.99
    assert found.same + found.different == len(said)
    again = list(said)
    shuffle.shuffle(again)
    assert calibrate(again, HOLD, MERGE) == found


def test_contradictions_neither_turn_the_curve_around_nor_fail() -> None:
    found = calibrate([Answer(0.9, same=False)] * 200 + [Answer(0.1, same=True)] * 200, HOLD, MERGE)
    assert 0 < found.hold <= found.merge < 1


def test_a_space_that_never_holds_is_left_alone() -> None:
    assert calibrate([Answer(0.5, same=True)], 0.9, 0.8).hold == 0.9
