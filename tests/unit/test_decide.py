"""The policy: every rule, its boundary, and its sentence."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipeline.decide import Action, ClusterFacts, Decision, Filed, Mode, decide
from pipeline.settings import PolicySettings

NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
POLICY = PolicySettings()
FACTS = ClusterFacts(
    number=4,
    kind="complaint",
    people=9,
    people_in_window=8,
    messages=12,
    platforms=("discord", "reddit"),
    first_at=NOW - 3 * DAY,
    last_at=NOW - HOUR,
    now=NOW,
    established=True,
    held_by=None,
    merged_into=None,
    muted=False,
    promoted=False,
    tags=(),
)
FILED = Filed(people=5, platforms=("discord", "reddit"), updated_at=NOW - DAY)
WOULD = "8 people within 30 days, 8 needed; 9 people in 12 messages on discord, reddit"
SKIP = Action.SKIP


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, Decision(Action.OPEN, "people", WOULD)),
        ({"merged_into": 2, "muted": True, "promoted": True}, Decision(SKIP, "merged", "merged into #2")),
        ({"muted": True, "promoted": True}, Decision(SKIP, "muted", "muted by a person")),
        (
            {"promoted": True, "people": 1, "people_in_window": 1, "messages": 1, "platforms": ("discord",)},
            Decision(Action.OPEN, "promoted", "promoted by a person; 1 people in 1 messages on discord"),
        ),
        ({"kind": "praise"}, Decision(SKIP, "kind", "mostly of kind praise; tickets are for complaint, idea")),
        ({"kind": "praise", "tags": ("vip",)}, Decision(Action.OPEN, "people", WOULD)),
        ({"held_by": 1}, Decision(SKIP, "held", "close to #1, and not surely another matter")),
        ({"people_in_window": 7}, Decision(SKIP, "people", "7 of 8 people within 30 days")),
        (
            {"established": False},
            Decision(SKIP, "unconfirmed", "found by one look over all messages; the next one must confirm it"),
        ),
        ({"first_at": NOW - HOUR}, Decision(Action.OPEN, "people", WOULD)),
        (
            {"first_at": NOW - HOUR + timedelta(seconds=1)},
            Decision(SKIP, "settling", "first said less than 60 minutes ago", NOW + timedelta(seconds=1)),
        ),
        ({"last_at": NOW - 30 * DAY}, Decision(Action.OPEN, "people", WOULD)),
        ({"last_at": NOW - 31 * DAY}, Decision(SKIP, "quiet", "nobody has said it for 31 days")),
    ],
)
def test_a_cluster_without_a_ticket(change: dict[str, Any], expected: Decision) -> None:
    assert decide(replace(FACTS, **change), None, POLICY, "auto") == expected


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("shadow", Decision(SKIP, "shadow", f"shadow mode: would open ({WOULD})")),
        ("approve", Decision(Action.PROPOSE, "people", f"waits for a person's `promote` ({WOULD})")),
    ],
)
def test_modes(mode: Mode, expected: Decision) -> None:
    assert decide(FACTS, None, POLICY, mode) == expected
    assert decide(replace(FACTS, promoted=True), None, POLICY, "approve").action is Action.OPEN


@pytest.mark.parametrize(
    ("people", "platforms", "written", "expected"),
    [
        (9, ("discord", "reddit"), DAY, Decision(SKIP, "filed", "9 people, 5 when last written")),
        (10, ("discord", "reddit"), DAY, Decision(Action.UPDATE, "growth", "grew from 5 to 10 people")),
        (
            10,
            ("discord", "reddit"),
            DAY - timedelta(seconds=1),
            Decision(SKIP, "gap", "written less than 24 hours ago", NOW + timedelta(seconds=1)),
        ),
        (
            6,
            ("discord", "matrix", "reddit"),
            DAY,
            Decision(
                Action.UPDATE, "platform", "now on matrix too; 6 people in 12 messages on discord, matrix, reddit"
            ),
        ),
        (5, ("discord",), DAY, Decision(SKIP, "filed", "5 people, 5 when last written")),
    ],
)
def test_a_cluster_with_a_ticket(
    people: int, platforms: tuple[str, ...], written: timedelta, expected: Decision
) -> None:
    facts = replace(FACTS, people=people, platforms=platforms)
    assert decide(facts, replace(FILED, updated_at=NOW - written), POLICY, "auto") == expected


def test_the_policy_itself_is_read() -> None:
    policy = PolicySettings(min_people=3, window=timedelta(hours=36), kinds=("question",), settle=timedelta(minutes=5))
    facts = replace(FACTS, kind="question", people_in_window=3)
    reason = "3 people within 36 hours, 3 needed; 9 people in 12 messages on discord, reddit"
    assert decide(facts, None, policy, "auto") == Decision(Action.OPEN, "people", reason)


def test_it_is_pure() -> None:
    facts, filed, policy = copy.deepcopy((FACTS, FILED, POLICY))
    answers = {decide(facts, filed, policy, "auto") for _ in range(3)}
    assert len(answers) == 1
    assert (facts, filed, policy) == (FACTS, FILED, POLICY)
