"""The fold: same journal, same clusters; every message in one place; small stories told entry by entry."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.geometry import View
from pipeline.entries import (
    AuthorErased,
    Commanded,
    Deleted,
    Entry,
    Fitted,
    Posted,
    Reacted,
    Ticked,
)
from pipeline.fold import SpaceState
from pipeline.raid import RAID_SPAN
from pipeline.records import CommandName, MessageRef
from pipeline.refit import cluster_name
from pipeline.state import Lineage, Status
from tests.standins.space_stream import DIMENSIONS, SMALL, SPACE, T0, Stream, of_state
from tests.standins.space_tale import Tale, unit

EXAMPLES = settings(max_examples=15, deadline=None)
SEEDS = st.integers(0, 2**16)


@EXAMPLES
@given(seed=SEEDS, evictions=st.sets(st.integers(0, 250)))
def test_the_same_journal_gives_the_same_clusters_bit_for_bit(seed: int, evictions: set[int]) -> None:
    stream = Stream(seed).run(220)
    expected = of_state(stream.oracle.state)
    state = SpaceState(SPACE, SMALL)
    away: dict[MessageRef, Any] = {}
    for number, entry in enumerate(stream.oracle.entries):
        # what the owner does: everything that an entry needs comes back from what left memory
        refs, authors, placed = state.needs([entry.body])
        mine = {ref for ref, m in away.items() if (ref.platform, m.author) in authors or m.via in placed}
        wanted = refs | mine
        wanted |= {away[ref].reply_to for ref in wanted & away.keys()} - {None}
        wanted |= {(away | state.members)[ref].follows for ref in wanted & (away | state.members).keys()} - {None}
        wanted |= {ref for ref, m in away.items() if m.follows in wanted}
        state.admit(away.pop(ref) for ref in wanted & away.keys())
        state.apply(entry)
        for event in state.drain().lineage:  # the store moves those of a merged cluster by one UPDATE
            for member in away.values():
                if event.what is Lineage.MERGED and member.cluster_id == event.cluster_id:
                    member.cluster_id = event.other
                    if event.pins and member.follows is None and member.via is None:
                        member.via = event.command_id
        if number in evictions:
            before = dict(state.members)
            state.evict()
            away |= {ref: m for ref, m in before.items() if ref not in state.members}
    state.admit(away.values())
    assert of_state(state) == expected


@EXAMPLES
@given(seed=SEEDS)
def test_totals_are_sums_over_members_and_each_message_stands_in_one_place(seed: int) -> None:
    stream = Stream(seed)
    for length in (60, 120, 220):
        state = stream.run(length).oracle.state
        posted = {a.body.ref for a in stream.arrivals if isinstance(a.body, Posted | Deleted)}
        assert state.members.keys() == posted
        for member in state.members.values():
            assert (member.status is Status.CLUSTERED) == (member.cluster_id is not None)
            assert (member.vector is None) == (member.status is Status.ERASED)
            if member.follows is not None:
                root = state.members[member.follows]
                assert root.follows is None
                assert member.cluster_id == root.cluster_id
                assert member.ref in state.followers[root.ref]
        for cluster in state.clusters.values():
            own = [m for m in state.members.values() if m.cluster_id == cluster.cluster_id and m.follows is None]
            assert cluster.count == len(own)
            total = sum((m.vector.astype(float) for m in own if m.vector is not None), np.zeros(DIMENSIONS))
            np.testing.assert_allclose(cluster.total, total, atol=1e-9)
            kinds = sum((np.log(np.maximum(m.features.kinds, 1e-6)) for m in own), np.zeros(5))
            np.testing.assert_allclose(cluster.log_kinds, kinds, atol=1e-9)


@pytest.fixture
def tale() -> Tale:
    one = Tale()
    for number in range(4):
        one.say(f"a{number}", 0)
        one.say(f"b{number}", 1)
    one.fit({"a": 0, "b": 1})
    return one


def test_a_fit_bears_clusters_named_after_their_first_message(tale: Tale) -> None:
    assert tale.home("a0").cluster_id == cluster_name(SPACE, MessageRef("discord", "a0"), 9)
    assert (tale.home("a0").number, tale.home("b0").number, tale.home("a3").count) == (1, 2, 4)
    tale.say("new", 1)
    assert tale.home("new") is tale.home("b0")
    tale.say("far", 5)
    assert tale["far"].status is Status.POOL


def test_a_name_survives_the_erasure_of_the_founder() -> None:
    tale = Tale()
    for number in range(4):
        tale.say(f"a{number}")
    refs = tuple(m.ref for m in tale.state.fit_members())
    tale.apply(Deleted(refs[0]))
    tale.apply(Fitted(4, refs, np.zeros(4, np.int32), View.plain(DIMENSIONS), 1))
    assert tale.home("a1").cluster_id == cluster_name(SPACE, refs[0], 6)


def test_a_quarter_that_stays_keeps_the_id_and_a_merged_ones_members_move(tale: Tale) -> None:
    kept, gone = tale.home("a0").cluster_id, tale.home("b0").cluster_id
    for number in range(9):
        tale.say(f"c{number}", 3)
    tale.fit({"a": 0, "b": 0, "c": 0})
    assert {tale.home(f"{group}{number}").cluster_id for group in "abc" for number in range(4)} == {kept}
    ended = tale.state.clusters[gone]
    assert (ended.merged_into, ended.count, ended.live, tale.home("a0").count) == (kept, 0, False, 17)
    steps = [(e.what, e.cluster_id, e.other) for e in tale.state.drain().lineage]
    assert steps[-1] == (Lineage.MERGED, gone, kept)


def test_people_s_decisions_move_with_a_merge_and_are_undone_there(tale: Tale) -> None:
    one, two = tale.home("a0"), tale.home("b0")
    tale.apply(Commanded("k1", CommandName.MUTE, two.cluster_id, "kim"))
    tale.apply(Commanded("k2", CommandName.TAG, two.cluster_id, "kim", "vip"))
    tale.fit({"a": 0, "b": 0})
    assert (one.muted, one.tags) == (True, ("vip",))
    tale.apply(Commanded("k3", CommandName.UNDO, two.cluster_id, "kim", "k1"))
    assert (one.muted, one.tags) == (False, ("vip",))
    tale.apply(Commanded("k4", CommandName.PROMOTE, two.cluster_id, "kim"))
    assert (one.promoted, two.promoted) == (True, False)


def test_an_undone_command_does_not_come_back_when_delivered_again(tale: Tale) -> None:
    cluster = tale.home("a0")
    mute = Commanded("k1", CommandName.MUTE, cluster.cluster_id, "kim")
    tale.apply(mute)
    tale.apply(Commanded("k2", CommandName.UNDO, cluster.cluster_id, "kim"))
    assert not cluster.muted
    assert tale.state.stale(mute)
    tale.apply(mute)
    assert not cluster.muted


def test_an_echo_goes_where_its_parent_goes_until_it_is_edited_into_words(tale: Tale) -> None:
    tale.say("x", 7)
    tale.echo("e", of="x")
    tale.echo("ee", of="e")
    assert tale["ee"].follows == MessageRef("discord", "x")
    tale.say("x", 0, edited=True)
    assert tale.home("e") is tale.home("ee") is tale.home("a0")
    assert tale.home("a0").count == 5
    tale.say("e", 1, edited=True)
    assert tale.home("e") is tale.home("b0")
    assert tale.home("ee") is tale.home("b0")
    tale.echo("e", of="x", edited=True)
    assert tale.home("ee") is tale.home("a0")
    tale.apply(Deleted(MessageRef("discord", "x")))
    assert (tale["ee"].status, tale["ee"].reason) == (Status.ASIDE, "echo of a message that is gone")


def test_messages_edited_into_echoes_of_one_another_make_no_ring() -> None:
    tale = Tale()
    tale.say("a", 7)
    tale.say("b", 8)
    tale.echo("x", of="a")
    tale.echo("a", of="b", edited=True)
    assert tale["x"].follows == MessageRef("discord", "b")
    tale.echo("b", of="x", edited=True)
    assert tale["b"].follows is None
    assert {tale[name].status for name in "abx"} == {Status.ASIDE}


def test_an_edit_that_came_first_learns_its_author_so_that_he_can_be_erased() -> None:
    tale = Tale()
    first = tale.at
    tale.at += timedelta(minutes=5)
    tale.say("m", author=None, edited=True)
    assert tale["m"].author == ""
    tale.say("m", author="ann", revision=first, at=first)
    assert (tale["m"].author, tale["m"].at) == ("ann", first)
    tale.apply(AuthorErased("discord", "ann"))
    assert tale["m"].status is Status.ERASED


def test_whoever_was_erased_before_his_message_came_stays_erased() -> None:
    tale = Tale()
    first = tale.at
    tale.at += timedelta(minutes=5)
    tale.say("m", author=None, edited=True)
    tale.apply(AuthorErased("discord", "ann"))
    tale.say("m", author="ann", revision=first)
    assert (tale["m"].status, tale["m"].author) == (Status.ERASED, "")


def test_no_fit_looks_further_back_than_the_last_one(tale: Tale) -> None:
    for number in range(SMALL.window):
        tale.say(f"c{number}", 3)
    tale.fit({"c": 0})
    assert [m.ref.message_id for m in tale.state.fit_members()][:2] == ["c0", "c1"]
    tale.apply(Deleted(MessageRef("discord", "c5")))
    assert len(tale.state.fit_members()) == SMALL.window - 1


def test_what_was_edited_while_a_fit_ran_goes_by_its_new_words(tale: Tale) -> None:
    refs = tuple(m.ref for m in tale.state.fit_members())
    labels = np.array([0 if ref.message_id[0] == "a" else 1 for ref in refs], np.int32)
    begun = tale.state.seq
    tale.say("a0", 1, edited=True)
    tale.apply(Fitted(begun, refs, labels, View.plain(DIMENSIONS), 1))
    assert tale.home("a0") is tale.home("b0")


def test_a_raid_is_many_accounts_with_one_text_within_the_window() -> None:
    tale = Tale()
    tale.say("m1", features={"fingerprint": "t"})
    tale.say("m2", features={"fingerprint": "t"})
    tale.say("same account", features={"fingerprint": "t"}, author="by m2")
    assert tale["m2"].status is Status.POOL
    tale.say("m3", features={"fingerprint": "t"}, at=T0 + timedelta(minutes=41))
    assert {tale[name].reason for name in ("m1", "m2", "same account", "m3")} == {"raid"}
    tale.say("late", features={"fingerprint": "t"}, at=T0 + timedelta(minutes=90))
    assert tale["late"].status is Status.POOL


def test_the_memory_of_texts_ends_after_a_number_of_entries() -> None:
    tale = Tale()
    tale.say("m1", features={"fingerprint": "t"})
    for _ in range(RAID_SPAN):
        tale.state.apply(Entry(tale.state.seq + 1, T0, Ticked()))
    tale.say("m2", features={"fingerprint": "t"}, at=T0)
    tale.say("m3", features={"fingerprint": "t"}, at=T0)
    assert tale["m3"].status is Status.POOL


def test_what_says_nothing_is_set_aside_under_its_own_reason() -> None:
    tale = Tale()
    tale.say("g", features={"words": 0, "form": "greeting"})
    tale.say("few", features={"words": 1})
    tale.say("card", features={"words": 1, "clear": True})
    tale.say("nod", features={"words": 0, "echo": True})
    reasons = [tale[name].reason for name in ("g", "few", "card", "nod")]
    assert reasons == ["greeting", "too few words", None, "agreement without a parent"]
    assert tale["card"].status is Status.POOL


def test_a_reply_that_leans_is_an_echo_of_what_it_answers_and_a_statement_else() -> None:
    tale = Tale()
    tale.say("x", 0)
    tale.say("lean", 1, features={"leans": True}, reply_to=MessageRef("discord", "x"))
    tale.say("alone", 1, features={"leans": True})
    assert (tale["lean"].follows, tale["lean"].features.echo) == (MessageRef("discord", "x"), True)
    assert (tale["alone"].follows, tale["alone"].status) == (None, Status.POOL)


def test_one_account_s_third_copy_of_a_text_is_set_aside_and_its_first_stays() -> None:
    tale = Tale()
    for number in range(4):
        tale.say(f"m{number}", features={"fingerprint": "t"}, author="bot", at=T0 + timedelta(hours=number))
    tale.say("other", features={"fingerprint": "t"}, author="ann", at=T0 + timedelta(hours=9))
    assert [tale[f"m{number}"].status for number in range(4)] == [Status.POOL] * 2 + [Status.ASIDE] * 2
    assert tale["m3"].reason == "one text again and again by one account"
    assert tale["other"].status is Status.POOL


def test_a_reaction_changes_only_the_cluster_s_version(tale: Tale) -> None:
    before = (tale.home("a0").count, tale.home("a0").total.tobytes())
    tale.state.drain()
    tale.apply(Reacted(MessageRef("discord", "a0")))
    assert tale.home("a0").version == tale.state.seq
    assert (tale.home("a0").count, tale.home("a0").total.tobytes()) == before
    assert tale.state.drain().clusters.keys() == {tale.home("a0").cluster_id}


def test_what_finds_no_company_expires_after_two_fits_and_its_time(tale: Tale) -> None:
    tale.say("x", 7)
    tale.fit({"a": 0, "b": 1})
    tale.at += SMALL.pool_ttl
    tale.fit({"a": 0, "b": 1})
    assert (tale["x"].status, tale["x"].reason) == (Status.EXPIRED, "found no company")


def test_a_near_neighbour_of_an_established_cluster_is_held(tale: Tale) -> None:
    near = (unit(0) + unit(4)) / np.sqrt(2, dtype=np.float32)
    for number in range(3):
        tale.say(f"n{number}", vector=near.astype(np.float32), revision=tale.at)
    tale.fit({"a": 0, "b": 1, "n": 2})
    assert (tale.home("a0").established_seq, tale.home("n0").established_seq) == (tale.state.seq, None)
    tale.fit({"a": 0, "b": 1, "n": 2})
    assert (tale.home("n0").held_by, tale.home("n0").established_seq) == (tale.home("a0").cluster_id, None)


def test_entries_come_in_order(tale: Tale) -> None:
    with pytest.raises(ValueError, match="entry 11 after 9"):
        tale.state.apply(Entry(11, T0, Ticked()))
