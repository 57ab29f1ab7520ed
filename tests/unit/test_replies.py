"""Echoes and what they answer: the order of arrival changes nothing."""

from __future__ import annotations

import itertools
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.entries import AuthorErased, Body, Deleted, Features, Posted
from pipeline.records import MessageRef
from pipeline.state import Status
from tests.standins.space_stream import T0
from tests.standins.space_tale import Tale, unit

WORDS: dict[str, Any] = {"kinds": (0.9, 0.025, 0.025, 0.025, 0.025), "kind": "complaint", "words": 5, "echo": False}
ECHO: dict[str, Any] = WORDS | {"words": 0, "echo": True}


def ref(name: str) -> MessageRef:
    return MessageRef("discord", name)


@pytest.fixture
def tale() -> Tale:
    return fitted()


def fitted() -> Tale:
    one = Tale()
    for number in range(4):
        one.say(f"a{number}", 0)
        one.say(f"b{number}", 1)
    one.fit({"a": 0, "b": 1})
    return one


def test_an_echo_that_came_first_waits_for_its_parent(tale: Tale) -> None:
    tale.echo("e", of="x")
    tale.echo("ee", of="e")
    assert (tale["ee"].status, tale["ee"].reason) == (Status.ASIDE, "agreement with a message not seen yet")
    tale.state.evict()
    assert ref("ee") not in tale.state.members
    tale = fitted()
    tale.echo("e", of="x")
    tale.echo("ee", of="e")
    tale.say("x", 1)
    assert tale.home("x") is tale.home("e") is tale.home("ee") is tale.home("b0")
    assert (tale.home("x").count, tale.state.came_along) == (5, 2)


def test_a_parent_that_turns_out_to_be_an_echo_hands_its_own_on(tale: Tale) -> None:
    tale.echo("ee", of="e")
    tale.echo("e", of="x")
    assert tale["ee"].follows == ref("x")
    tale.say("x", 0)
    assert tale.home("ee") is tale.home("a0")


def test_the_parent_may_be_erased_before_it_comes(tale: Tale) -> None:
    tale.echo("e", of="x")
    tale.apply(Deleted(ref("x")))
    assert (tale["e"].status, tale["e"].reason) == (Status.ASIDE, "echo of a message that is gone")
    tale.apply(Deleted(ref("y")))
    tale.echo("f", of="y")
    assert tale["f"].reason == "echo of a message that is gone"
    tale.apply(AuthorErased("discord", "by z"))
    tale.echo("g", of="z")
    tale.say("z", 0)
    assert tale["g"].reason == "echo of a message that is gone"


def test_an_edit_need_not_repeat_what_it_answers(tale: Tale) -> None:
    tale.say("x", 0)
    tale.echo("e", of="x")
    tale.say("e", 3, edited=True, features={"echo": True, "words": 0})
    assert tale.home("e") is tale.home("a0")


def test_the_message_that_comes_after_its_edit_says_what_it_answers(tale: Tale) -> None:
    created = tale.at
    tale.say("x", 0)
    tale.say("e", 3, author=None, edited=True, features={"echo": True, "words": 0})
    assert tale["e"].reason == "agreement without a parent"
    tale.echo("e", of="x", revision=created)
    assert tale.home("e") is tale.home("a0")
    assert tale["e"].author == "by e"


def test_what_agreed_with_an_echo_agrees_with_the_words_that_it_becomes(tale: Tale) -> None:
    tale.echo("ee", of="e")
    tale.say("x", 0)
    tale.echo("e", of="x")
    assert tale.home("ee") is tale.home("a0")
    tale.say("e", 1, edited=True)
    assert tale.home("ee") is tale.home("b0")
    tale.apply(Deleted(ref("e")))
    assert tale["ee"].reason == "echo of a message that is gone"


NAMES = ("x", "y", "e", "f", "g")
HISTORIES = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        st.one_of(st.just("delete"), st.integers(0, 1), st.just("echo")),
        st.booleans(),  # an edit may repeat author and parent
    ),
    min_size=1,
    max_size=6,
)


def happened(parents: dict[str, str], edits: list[tuple[str, Any, bool]]) -> list[tuple[Body, datetime]]:
    """Two messages and echoes in a tree, then what became of them: the order in which people did it."""
    said: list[tuple[Body, datetime]] = []
    for minute, name in enumerate(NAMES):
        parent = parents.get(name)
        said.append(post(name, "echo" if parent else "xy".index(name), parent, minute, f"by {name}"))
    for minute, (name, what, repeats) in enumerate(edits, start=len(NAMES)):
        if what == "delete":
            said.append((Deleted(ref(name)), T0 + timedelta(days=1, minutes=minute)))
        else:
            author = f"by {name}" if repeats else None
            said.append(post(name, what, parents.get(name) if repeats else None, minute, author))
    return said


def post(name: str, what: Any, parent: str | None, minute: int, author: str | None) -> tuple[Body, datetime]:
    at = T0 + timedelta(days=1, minutes=minute)
    features = Features(**(ECHO if what == "echo" else WORDS), fingerprint=name)
    vector = unit(3 if what == "echo" else what)
    return Posted(ref(name), author, at, features, vector, ref(parent) if parent else None), at


def counts(said: list[tuple[Body, datetime]]) -> tuple[Any, ...]:
    tale = fitted()
    for body, at in said:
        if not tale.state.stale(body):
            tale.apply(body, at)
    members = [m for m in tale.state.members.values() if m.ref.message_id in NAMES]
    homes = {m.ref.message_id: (m.status, m.follows, m.reason, m.cluster_id) for m in members}
    for cluster in tale.state.clusters.values():
        own = [m for m in tale.state.members.values() if m.cluster_id == cluster.cluster_id and m.follows is None]
        assert cluster.count == len(own)
    return homes, Counter(m.cluster_id for m in members)


@settings(max_examples=150, deadline=None)
@given(
    parents=st.tuples(st.sampled_from("xy"), st.sampled_from("xye"), st.sampled_from("xyef")),
    edits=HISTORIES,
    order=st.randoms(use_true_random=False),
)
def test_any_order_counts_as_the_order_in_which_it_happened(
    parents: tuple[str, ...], edits: list[tuple[str, Any, bool]], order: Any
) -> None:
    said = happened(dict(zip("efg", parents, strict=True)), edits)
    expected = counts(said)
    shuffled = list(said)
    order.shuffle(shuffled)
    assert counts(shuffled) == expected


def test_every_order_of_a_chain_and_a_deletion() -> None:
    said = happened({"e": "x", "f": "e", "g": "f"}, [("f", "delete", False)])
    kept = [one for one in said if getattr(one[0], "ref", None) != ref("y")]
    expected = counts(kept)
    assert expected[1][fitted().home("a0").cluster_id] == 2
    for order in itertools.permutations(kept):
        assert counts(list(order)) == expected
