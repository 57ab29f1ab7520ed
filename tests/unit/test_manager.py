"""The simulated manager: what it answers to what is on the board, and that it answers no more than it may."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import pytest

from pipeline.evaluation.manager import Manager
from pipeline.evaluation.reading import Data
from pipeline.evaluation.streams import run_stream
from pipeline.records import CommandName, MessageRef
from pipeline.tried import OnBoard
from tests.unit.test_evaluation import data, settings

__all__ = ["data"]  # a fixture

AT = datetime(2026, 1, 1, tzinfo=UTC)


class Board:
    """Clusters with known groups."""

    def __init__(self) -> None:
        self.gold: dict[MessageRef, str | None] = {}
        self.shown: list[OnBoard] = []
        self._numbers = itertools.count(1)

    def add(self, groups: dict[str | None, int], held_by: str | None = None, *, ticket: bool = False) -> str:
        number = next(self._numbers)
        refs: list[MessageRef] = []
        for group, count in groups.items():
            for _ in range(count):
                refs.append(MessageRef("data", f"{number}-{len(refs)}"))
                self.gold[refs[-1]] = group
        self.shown.append(OnBoard(f"c{number}", number, tuple(refs), held_by, ticket))
        return f"c{number}"

    def manager(self, budget: int = 9, people: int = 10) -> Manager:
        return Manager("acme", self.gold, budget, people)


def test_a_held_cluster_is_merged_or_separated_and_asked_about_once() -> None:
    board = Board()
    ticket = board.add({"a": 20}, ticket=True)
    same = board.add({"a": 12, "b": 2}, held_by=ticket)
    other = board.add({"b": 11}, held_by=ticket)
    board.add({"b": 9}, held_by=ticket)  # too few people to open anyway
    board.add({"b": 10, "c": 10}, held_by=ticket)  # mixed: nobody can say

    manager = board.manager()
    said = [manager.answer(board.shown, AT) for _ in range(3)]

    assert [(c.name, c.cluster_id, c.other) for c in said if c is not None] == [
        (CommandName.MERGE, ticket, same),
        (CommandName.SEPARATE, ticket, other),
    ]
    assert said[2] is None
    assert manager.counts() == {"merge": 1, "separate": 1}


def test_the_biggest_wait_is_asked_about_first_and_only_about_what_it_waits_beside() -> None:
    board = Board()
    ticket = board.add({"a": 20}, ticket=True)
    board.add({"c": 15}, ticket=True)
    board.add({"b": 10}, held_by=ticket)
    own = board.add({"c": 30}, held_by=ticket)
    found = board.manager().answer(board.shown, AT)
    assert found is not None
    assert (found.name, found.cluster_id, found.other) == (CommandName.SEPARATE, ticket, own)


def test_a_mixed_ticket_is_split_or_called_no_feedback_before_all_else() -> None:
    board = Board()
    ticket = board.add({"a": 10, "b": 6, None: 4}, ticket=True)
    board.add({"c": 30}, held_by=ticket)
    muddle = board.add({None: 9, "d": 3}, ticket=True)

    manager = board.manager(budget=2)
    first, second, third = (manager.answer(board.shown, AT) for _ in range(3))

    assert first is not None
    assert (first.name, first.cluster_id) == (CommandName.SPLIT, ticket)
    assert {board.gold[ref] for ref in first.messages} == {"b"}
    assert len(first.messages) == 6
    assert second is not None
    # Nothing changed, as if the split had had no effect: the biggest wish comes first again.
    assert second.cluster_id == ticket
    assert third is None

    board.shown.pop(0)
    again = board.manager().answer(board.shown, AT)
    assert again is not None
    assert (again.name, again.cluster_id) == (CommandName.NOT_FEEDBACK, muddle)


def test_two_tickets_of_one_group_become_one() -> None:
    board = Board()
    old = board.add({"a": 10}, ticket=True)
    board.add({"b": 30}, ticket=True)
    new = board.add({"a": 20}, ticket=True)
    found = board.manager().answer(board.shown, AT)
    assert found is not None
    assert (found.name, found.cluster_id, found.other) == (CommandName.MERGE, old, new)


@pytest.mark.parametrize("budget", [0, 3])
def test_a_stream_with_answers_gives_no_more_than_it_may(data: Data, budget: int) -> None:
    outcome = run_stream(data, settings(10), 10, seed=1, answers=budget)
    assert outcome.budget == budget
    assert sum(outcome.answers.values()) <= budget


def test_answers_reach_the_space_and_its_thresholds(data: Data) -> None:
    """Two topics under one label each: what looks like two clusters is one matter, and somebody says so."""
    coarse = Data([None if g is None else ("x" if g in {"sync", "login"} else g) for g in data.gold], data.arrivals)
    without = run_stream(coarse, settings(10), 10, seed=1)
    answered = run_stream(coarse, settings(10), 10, seed=1, answers=5)
    assert without.measures.duplicates > 0
    assert answered.answers["merge"] >= 1
    assert answered.measures.duplicates == 0
    assert answered.hold is not None
    assert without.hold is not None
    assert answered.hold < without.hold
