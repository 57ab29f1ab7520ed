"""The policy: every rule, its boundary, and its sentence."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.kind_names import KINDS
from pipeline.decide import Action, ClusterFacts, Decision, Filed, Mode, could_open, decide, weigh
from pipeline.settings import PolicySettings, WatchSettings
from pipeline.state import Cluster
from pipeline.watch import Rise, Rising

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
TAGGED = "8 people + tag 2 = 10 of 8 needed within 30 days; 9 people in 12 messages on discord, reddit"
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
        ({"kind": "praise", "tags": ("vip",)}, Decision(Action.OPEN, "people", TAGGED)),
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


@pytest.mark.parametrize(
    ("change", "setting", "action", "reason"),
    [
        (
            {"people_in_window": 6, "reacting": 14, "tags": ("vip",)},
            {},
            Action.OPEN,
            "6 people + 14 reactions x 0.1 (at most 2) + tag 2 = 9.4 of 8 needed within 30 days",
        ),
        (
            {"people_in_window": 5, "reacting": 900},
            {},
            SKIP,
            "5 people + 900 reactions x 0.1 (at most 2) = 7 of 8 needed within 30 days",
        ),
        (
            {"people_in_window": 7, "repeats": ((2, 2), (9, 1))},
            {"person_cap": 1.5},
            Action.OPEN,
            "7 people + 1 for repeating it = 8 of 8 needed within 30 days",
        ),
        ({"people_in_window": 7, "repeats": ((9, 7),)}, {}, SKIP, "7 of 8 people within 30 days"),
        (
            {"people_in_window": 12, "copied": (10,)},
            {},
            SKIP,
            "7 people (without 5 more who only repeated others word for word) of 8 needed within 30 days",
        ),
        ({"people_in_window": 8, "copied": (5, 2)}, {}, Action.OPEN, "8 people within 30 days, 8 needed"),
        ({}, {"min_platforms": 3}, SKIP, "on 2 of 3 platforms"),
        ({"clear_people": 0}, {}, SKIP, "0 of 8 people said it so clearly that its kind is sure"),
        ({"clear_people": 0, "tags": ("vip",)}, {}, Action.OPEN, "8 people + tag 2 = 10 of 8 needed within 30 days"),
        ({"clear_people": 1}, {}, Action.OPEN, "8 people within 30 days, 8 needed"),
        ({"held_by": 3, "people_in_window": 79}, {}, SKIP, "close to #3, and not surely another matter"),
        ({"held_by": 3, "people_in_window": 80}, {}, Action.OPEN, "80 people within 30 days, 8 needed"),
    ],
)
def test_the_arithmetic(change: dict[str, Any], setting: dict[str, Any], action: Action, reason: str) -> None:
    decision = decide(replace(FACTS, **change), None, PolicySettings(**setting), "auto")
    assert decision.action is action
    assert decision.reason.partition(";")[0] == reason


def test_a_proposal_is_not_withdrawn_for_one_who_left() -> None:
    facts = replace(FACTS, people_in_window=6)
    assert decide(facts, None, POLICY, "approve").rule == "people"
    assert decide(facts, None, POLICY, "approve").action is SKIP
    kept = decide(replace(facts, proposed=True), None, POLICY, "approve")
    assert kept.action is Action.PROPOSE
    assert "6 people of 8 needed within 30 days, kept from 6 on" in kept.reason
    assert decide(replace(facts, proposed=True, people_in_window=5), None, POLICY, "approve").action is SKIP
    assert decide(replace(facts, proposed=True), None, POLICY, "auto").action is SKIP


def test_a_small_ticket_is_not_rewritten_for_one_more_person() -> None:
    filed = replace(FILED, people=1)
    assert decide(replace(FACTS, people=3), filed, POLICY, "auto").action is SKIP
    assert decide(replace(FACTS, people=4), filed, POLICY, "auto").action is Action.UPDATE


facts_of = st.builds(
    lambda people, reacting, tags, copied: replace(
        FACTS, people_in_window=people, people=people, reacting=reacting, tags=tags, copied=copied
    ),
    st.integers(1, 40),
    st.integers(0, 60),
    st.sampled_from([(), ("vip",)]),
    st.sampled_from([(), (6,), (9, 2)]),
)


@given(facts_of, st.integers(0, 30), st.integers(0, 30))
def test_more_people_or_reactions_never_close_what_would_open(facts: ClusterFacts, people: int, reacting: int) -> None:
    more = replace(facts, people_in_window=facts.people_in_window + people, reacting=facts.reacting + reacting)
    if decide(facts, None, POLICY, "auto").action is Action.OPEN:
        assert decide(more, None, POLICY, "auto").action is Action.OPEN
    assert weigh(more, POLICY).total >= weigh(facts, POLICY).total


@given(facts_of)
def test_those_who_only_react_never_open_anything_alone(facts: ClusterFacts) -> None:
    alone = replace(facts, people_in_window=1, copied=())
    assert decide(alone, None, POLICY, "auto").action is SKIP


@given(
    kind=st.sampled_from(KINDS),
    people=st.integers(0, 12),
    echoes=st.integers(0, 3),
    reacting=st.integers(0, 90),
    cap=st.floats(1, 5),
    flags=st.tuples(*[st.booleans()] * 7),
    mode=st.sampled_from(["auto", "approve", "shadow"]),
)
def test_what_would_open_is_never_ruled_out_by_the_cheap_look(
    kind: str, people: int, echoes: int, reacting: int, cap: float, flags: tuple[bool, ...], mode: Mode
) -> None:
    established, held, merged, muted, promoted, tagged, rejected = flags
    messages = people + echoes
    policy = POLICY.model_copy(update={"person_cap": cap, "repeat_weight": 1.0, "hold_release": 1.3, "min_people": 6})
    facts = replace(
        FACTS,
        kind=kind,
        people=people,
        people_in_window=people,
        messages=messages,
        reacting=reacting,
        repeats=((echoes + 1, 1),) if people and echoes else (),
        rejected=rejected,
        established=established,
        held_by=1 if held else None,
        merged_into=2 if merged else None,
        muted=muted,
        promoted=promoted,
        tags=("vip",) if tagged else (),
    )
    cluster = Cluster(
        cluster_id="c",
        number=4,
        born_seq=1,
        total=np.zeros(2),
        count=people,
        log_kinds=np.array([0.0 if name == kind else -1.0 for name in KINDS]),
        threshold=0.5,
        established_seq=1 if established else None,
        held_by="other" if held else None,
        merged_into="other" if merged else None,
        muted=muted,
        rejected=rejected,
        promoted=promoted,
        tags=facts.tags,
    )
    if decide(facts, None, policy, mode).action in {Action.OPEN, Action.PROPOSE}:
        assert could_open(cluster, messages, policy)
    if muted or merged or rejected:
        assert not could_open(cluster, messages, policy)


RISING = Rising(
    Rise(recent=6, expected=0.5, chance=0.0001, level=0.001),
    window=DAY,
    new_platforms=("reddit",),
    release="5.3",
    release_at=NOW - HOUR - 2 * DAY,
)


def test_a_watch_says_what_rose_and_what_is_missing() -> None:
    facts = replace(FACTS, people_in_window=7, rising=RISING)
    assert decide(facts, None, POLICY, "auto") == Decision(
        Action.WATCH,
        "rising",
        "6 people within 24 hours, 0.5 expected (chance 1 in 10,000), rises since release 5.3, 2 days ago, "
        "now on reddit too; no ticket yet: 7 of 8 people within 30 days",
        NOW - HOUR + DAY,
    )
    assert decide(facts, None, POLICY, "shadow").action is Action.WATCH


@pytest.mark.parametrize(
    ("change", "action"),
    [
        ({"established": False}, Action.WATCH),
        ({"people_in_window": 8}, Action.OPEN),
        ({"kind": "praise"}, SKIP),
        ({"held_by": 2}, SKIP),
        ({"muted": True}, SKIP),
        ({"clear_people": 0}, SKIP),
        ({"last_at": NOW - DAY}, SKIP),
    ],
)
def test_what_is_watched(change: dict[str, Any], action: Action) -> None:
    facts = replace(replace(FACTS, people_in_window=7, rising=RISING), **change)
    assert decide(facts, None, POLICY, "auto").action is action


def test_a_watch_opens_a_ticket_only_when_the_settings_say_so() -> None:
    facts = replace(FACTS, people_in_window=7, rising=RISING)
    policy = PolicySettings(watch=WatchSettings(opens=True))
    assert decide(facts, None, policy, "auto").action is Action.OPEN
    assert decide(facts, None, policy, "approve").action is Action.PROPOSE
