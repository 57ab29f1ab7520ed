"""Constraints: what people decided holds through random communities, fits, batch cuts and replays."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.constraints import Constraints, bend
from pipeline.entries import Entry, Fitted
from pipeline.fold import SpaceState
from pipeline.records import CommandName
from pipeline.state import Lineage, Status
from tests.standins.space_stream import SMALL, SPACE, Stream, of_state

NAMES = "abcde"
ORDER = {name: rank for rank, name in enumerate(NAMES)}
PLACES = st.lists(st.tuples(st.integers(-1, 3), st.sampled_from([None, *NAMES])), max_size=60)
PAIRS = st.sets(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)).filter(lambda pair: pair[0] < pair[1]))


def apart(pairs: set[tuple[str, str]]) -> dict[str, frozenset[str]]:
    both = pairs | {(two, one) for one, two in pairs}
    return {one: frozenset(two for first, two in both if first == one) for one, _ in both}


def bent(groups: list[str], linked: str = "", pairs: set[tuple[str, str]] | None = None) -> list[str]:
    """Bend labels; each group is one label's letters ("." for a message without a cluster), and so is each result."""
    letters = [letter for group in groups for letter in group]
    labels = np.array([label for label, group in enumerate(groups) for _ in group], np.int32)
    previous = [None if letter == "." else letter for letter in letters]
    found = bend(labels, previous, ORDER, Constraints(frozenset(linked), apart(pairs or set())))
    result: dict[int, str] = {}
    for index, (letter, label) in enumerate(zip(letters, found.labels.tolist(), strict=True)):
        result[label] = result.get(label, "") + (letter.upper() if index in found.stays else letter)
    return sorted(result.values())


def test_parts_of_what_a_person_merged_are_one_group() -> None:
    assert bent(["aaaa", "aaa..", "bbbb"], linked="a") == ["aaaaaaa..", "bbbb"]
    assert bent(["aaaa", "aaa.........."], linked="a") == ["aaa..........", "aaaa"]
    assert bent(["aaaa", "aaabbbb"], linked="a") == ["aaaa", "aaabbbb"]
    assert bent(["aaaa", "aaa.."]) == ["aaa..", "aaaa"]


def test_a_group_of_two_that_a_person_separated_comes_apart_and_newcomers_are_left_to_online_assignment() -> None:
    assert bent(["aaaabbb.."], pairs={("a", "b")}) == ["..", "aaaa", "bbb"]
    assert bent(["aaaabbb.."]) == ["aaaabbb.."]


def test_a_few_strays_of_a_separated_cluster_stay_where_they_are() -> None:
    assert bent(["aaaabb", "bbbb"], pairs={("a", "b")}) == ["BB", "aaaa", "bbbb"]


def test_strays_of_a_linked_cluster_go_home() -> None:
    assert bent(["aaaabbb", "bb"], linked="b", pairs={("a", "b")}) == ["aaaa", "bbbbb"]


@given(PLACES, PAIRS, st.sets(st.sampled_from(NAMES)))
def test_no_group_holds_two_that_are_kept_apart_and_none_is_made_up(
    places: list[tuple[int, str | None]], pairs: set[tuple[str, str]], linked: set[str]
) -> None:
    labels = np.array([label for label, _ in places], np.int32)
    previous = [cluster for _, cluster in places]
    constraints = Constraints(frozenset(linked), apart(pairs))
    found = bend(labels, previous, ORDER, constraints)
    for label in set(found.labels.tolist()) - {-1}:
        held = {cluster for own, cluster in zip(found.labels.tolist(), previous, strict=True) if own == label}
        assert not any(constraints.parted(one, two) for one in held - {None} for two in held - {None} if one and two)
    for label, result in zip(labels.tolist(), found.labels.tolist(), strict=True):
        assert label >= 0 or result == -1
    if not pairs:
        assert not found.stays
        assert Counter(found.labels.tolist())[-1] == Counter(labels.tolist())[-1]


def check(state: SpaceState) -> None:
    """Assert what people decided, on a state."""
    for member in state.members.values():
        if member.via is not None:
            effect = state.effects[member.via]  # so it is in force
            assert member.cluster_id == state.survivor(effect.cluster or "").cluster_id
            assert (member.status, member.follows) == (Status.CLUSTERED, None)
    for cluster in state.clusters.values():
        if cluster.merged_into is not None:
            continue
        mine = state.decided(cluster)
        assert cluster.tags == tuple(dict.fromkeys(c.value for c in mine if c.name is CommandName.TAG))
        assert cluster.promoted == any(c.name is CommandName.PROMOTE for c in mine)
        assert cluster.muted >= any(c.name is CommandName.MUTE for c in mine)
        assert cluster.rejected >= any(c.name is CommandName.NOT_FEEDBACK for c in mine)
        assert (cluster.name is not None) == any(c.name is CommandName.RENAME for c in mine)


def follow(state: SpaceState, entry: Entry) -> None:
    """Apply an entry and assert that, if it is a fit, it kept to the constraints there were before it."""
    before = state.constraints()
    placed = {m.ref: m.via for m in state.members.values() if m.via is not None}
    state.drain()
    state.apply(entry)
    changes = state.drain()
    check(state)
    if not isinstance(entry.body, Fitted):
        return
    assert placed == {ref: state.members[ref].via for ref in placed}
    for one, others in before.apart.items():
        for other in others:
            assert state.survivor(one) is not state.survivor(other)
    for move in changes.moves:
        echo = state.members[move.ref].follows is not None
        assert echo or not before.parted(move.from_cluster or "", move.to_cluster or "")
    for event in changes.lineage:
        assert event.what is not Lineage.SPLIT or event.other not in before.linked
    (report,) = changes.fits
    gone = [move for move in changes.moves if move.from_cluster and state.members[move.ref].follows is None]
    assert report.moved + report.to_pool + report.in_blocks <= len({move.ref for move in gone}) <= report.clustered
    assert report.merged == sum(event.what is Lineage.MERGED for event in changes.lineage)
    assert report.born + report.split == sum(event.what in {"born", "split"} for event in changes.lineage)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_no_fit_undoes_what_people_decided(seed: int) -> None:
    stream = Stream(seed, commands_weight=25).run(260)
    state = SpaceState(SPACE, SMALL)
    for entry in stream.oracle.entries:
        follow(state, entry)
    assert of_state(state) == of_state(stream.oracle.state)
    assert state.calibration == stream.oracle.state.calibration
    assert state.effects == stream.oracle.state.effects
