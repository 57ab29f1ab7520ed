"""People's decisions, told entry by entry: what each does, what it leaves, and what taking it back brings back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.entries import Commanded, Deleted
from pipeline.records import CommandName, MessageRef
from pipeline.state import Cluster, Lineage
from tests.standins.space_stream import SPACE
from tests.standins.space_tale import Tale, unit

NAMES = range(4)


def ref(name: str) -> MessageRef:
    return MessageRef("discord", name)


class Told(Tale):
    """A tale with people in it."""

    def order(self, name: CommandName, about: str | Cluster, **more: Any) -> str:
        """Order something about the cluster of a message; return the command's id."""
        cluster = self.home(about) if isinstance(about, str) else about
        command_id = f"k{self.state.seq + 1}"
        self.apply(Commanded(command_id, name, cluster.cluster_id, "kim", **more))
        return command_id

    def merge(self, one: str, other: str) -> str:
        return self.order(CommandName.MERGE, one, other=self.home(other).cluster_id)

    def separate(self, one: str, other: str) -> str:
        return self.order(CommandName.SEPARATE, one, other=self.home(other).cluster_id)

    def split(self, about: str, *names: str) -> str:
        return self.order(CommandName.SPLIT, about, messages=tuple(ref(name) for name in names))

    def undo(self, about: str, command_id: str | None = None) -> None:
        self.order(CommandName.UNDO, about, value=command_id)

    def homes(self, names: str = "ab") -> dict[str, list[int]]:
        """Return the numbers of the clusters in which each group's messages stand."""
        members = [m for m in self.state.members.values() if m.cluster_id is not None]
        return {
            letter: sorted({self.home(m.ref.message_id).number for m in members if m.ref.message_id[0] == letter})
            for letter in names
        }


@pytest.fixture
def told() -> Told:
    one = Told()
    for number in NAMES:
        one.say(f"a{number}", 0)
        one.say(f"b{number}", 1)
    one.fit({"a": 0, "b": 1})
    return one


def test_a_merge_holds_against_every_fit_and_newcomers_near_the_second(told: Told) -> None:
    gone = told.home("b0")
    told.merge("a0", "b0")
    for number in range(5):
        told.say(f"n{number}", 9)
    told.fit({"a": 0, "b": 1, "n": 1})
    told.fit({"a": 0, "b": 1, "n": 2})
    assert told.homes("ab") == {"a": [1], "b": [1]}
    assert told.home("n0") is told.home("a0")
    assert (gone.count, gone.merged_into, told.home("a0").count) == (0, told.home("a0").cluster_id, 13)


def test_a_merge_taken_back_gives_back_what_came_with_it_and_no_more(told: Told) -> None:
    first, second = told.home("a0"), told.home("b0")
    total = second.total.copy()
    told.echo("e0", of="b1")
    command = told.merge("a0", "b0")
    told.say("a9", 0)
    told.apply(Deleted(ref("b3")))
    told.undo("a0", command)
    assert (told.home("b0"), told.home("e0"), told.home("a9")) == (second, second, first)
    assert (first.count, second.count, second.merged_into) == (5, 3, None)
    np.testing.assert_allclose(second.total, total - unit(1))
    told.say("b9", 1)
    assert told.home("b9") is second
    told.fit({"a": 0, "b": 1})
    assert told.homes() == {"a": [1], "b": [2]}
    assert [e.what for e in told.state.drain().lineage if e.other] == [Lineage.MERGED, Lineage.REVIVED]


def test_merges_within_merges_come_back_one_by_one(told: Told) -> None:
    for number in NAMES:
        told.say(f"c{number}", 2)
    told.fit({"a": 0, "b": 1, "c": 2})
    inner = told.merge("b0", "c0")
    outer = told.merge("a0", "b0")
    assert told.homes("abc") == {"a": [1], "b": [1], "c": [1]}
    told.undo("a0", outer)
    assert told.homes("abc") == {"a": [1], "b": [2], "c": [2]}
    told.merge("a0", "b0")
    told.undo("a0", inner)
    assert told.homes("abc") == {"a": [1], "b": [1], "c": [3]}


def test_what_was_split_off_stays_apart_until_that_is_taken_back(told: Told) -> None:
    told.say("a4", 0)
    command = told.split("a0", "a0", "a1")
    part = told.home("a0")
    assert (part.number, part.split_from, part.count) == (3, told.home("a2").cluster_id, 2)
    told.fit({"a": 0, "b": 1})
    told.fit({"a": 0, "b": 1})
    assert told.homes("a") == {"a": [1, 3]}
    assert (told.home("a0"), told.home("a1")) == (part, part)
    told.undo("a0", command)
    assert told.homes("a") == {"a": [1]}
    assert (part.merged_into, told.home("a0").count) == (told.home("a2").cluster_id, 5)
    assert all(told[f"a{number}"].via is None for number in NAMES)


def test_a_split_of_all_or_of_nothing_changes_nothing(told: Told) -> None:
    told.split("a0", *(f"a{number}" for number in NAMES))
    told.split("a0", "b0", "nobody")
    assert told.homes() == {"a": [1], "b": [2]}
    assert told.state.commands == {}
    assert len(told.state.command_ids) == 2


def test_an_edited_message_goes_by_its_new_words_wherever_a_person_put_it(told: Told) -> None:
    told.split("a0", "a0", "a1")
    told.say("a0", 1, edited=True)
    assert (told.home("a0"), told["a0"].via) == (told.home("b0"), None)


def test_two_that_a_person_separated_are_never_merged_and_a_later_merge_by_a_person_wins(told: Told) -> None:
    told.separate("a0", "b0")
    for number in range(9):
        told.say(f"c{number}", 3)
    told.fit({"a": 0, "b": 0, "c": 0})
    assert told.homes() == {"a": [1], "b": [2]}
    command = told.merge("a0", "b0")
    assert told.homes() == {"a": [1], "b": [1]}
    told.undo("a0", command)
    told.fit({"a": 0, "b": 0, "c": 0})
    assert told.homes() == {"a": [1], "b": [2]}


def test_the_bigger_part_of_an_established_cluster_in_a_group_of_one_kept_apart_from_it_splits_off() -> None:
    told = Told()
    for letter, axis, count in (("a", 0, 7), ("b", 1, 5), ("c", 2, 3), ("d", 3, 3)):
        for number in range(count):
            told.say(f"{letter}{number}", axis)
    for _ in range(3):
        told.fit({"a": 0, "b": 1, "c": 1, "d": 1})
    assert told.home("b0").established_seq is not None
    told.separate("a0", "b0")
    told.fit({"a": 0, "c": 0, "d": 0, "b": 1})
    assert told.homes("abcd") == {"a": [1], "b": [2], "c": [3], "d": [3]}
    assert told.home("c0").split_from == told.home("b0").cluster_id


def beside(told: Told) -> Cluster:
    """Return a cluster that waits beside that of a0."""
    near = ((unit(0) + unit(4)) / np.sqrt(2)).astype(np.float32)
    for number in NAMES:
        told.say(f"n{number}", vector=near)
    told.fit({"a": 0, "b": 1, "n": 2})
    told.fit({"a": 0, "b": 1, "n": 2})
    held = told.home("n0")
    assert (held.held_by, held.established_seq) == (told.home("a0").cluster_id, None)
    return held


@pytest.mark.parametrize("how", ["separate", "promote"])
def test_a_held_cluster_s_way_out_and_the_way_back(told: Told, how: str) -> None:
    held = beside(told)
    command = told.separate("n0", "a0") if how == "separate" else told.order(CommandName.PROMOTE, "n0")
    assert (held.held_by, held.established_seq) == (None, told.state.seq)
    assert told.state.effects[command].cosine == pytest.approx(np.sqrt(0.5), abs=2e-4)
    assert (told.state.calibration.different, told.state.hold_threshold > 0.55) == (1, True)
    told.undo("n0", command)
    assert (held.established_seq, told.state.calibration.different, told.state.hold_threshold) == (None, 0, 0.55)
    told.fit({"a": 0, "b": 1, "n": 2})
    assert held.held_by == told.home("a0").cluster_id


def test_answers_move_the_threshold_by_which_the_next_cluster_is_held(told: Told) -> None:
    """What held one cluster no longer holds the next, once people said often enough that so close is different."""
    held = beside(told)
    for number in range(40):
        told.apply(
            Commanded(f"s{number}", CommandName.SEPARATE, told.home("b0").cluster_id, "kim", other=held.cluster_id)
        )
        told.state.effects[f"s{number}"] = told.state.effects[f"s{number}"].__class__(told.state.seq, cosine=0.75)
    told.order(CommandName.TAG, "b0", value="x")
    assert told.state.hold_threshold > 0.72
    told.fit({"a": 0, "b": 1, "n": 2})
    assert (held.held_by, held.established_seq) == (None, told.state.seq)


def test_a_name_stays_through_merges_and_the_survivor_s_own_counts(told: Told) -> None:
    told.order(CommandName.RENAME, "a0", value="Ours")
    told.order(CommandName.RENAME, "b0", value="Theirs")
    one, two = told.home("a0"), told.home("b0")
    command = told.merge("a0", "b0")
    assert one.name == "Ours"
    told.order(CommandName.RENAME, "a0", value="  Newer ")
    assert one.name == "Newer"
    told.undo("a0", command)
    assert (one.name, two.name) == ("Newer", "Theirs")


@pytest.mark.parametrize(("name", "flag"), [(CommandName.MUTE, "muted"), (CommandName.NOT_FEEDBACK, "rejected")])
def test_a_part_that_a_fit_splits_off_stays_shut_and_one_that_a_person_splits_off_does_not(
    name: CommandName, flag: str
) -> None:
    told = Told()
    for number in range(8):
        told.say(f"a{number}", 0)
    for number in range(4):
        told.say(f"b{number}", 1)
    told.fit({"a": 0, "b": 0})
    command = told.order(name, "a0")
    told.fit({"a": 0, "b": 1})
    part = told.home("b0")
    assert (part is not told.home("a0"), getattr(part, flag)) == (True, True)
    told.split("a0", "a0", "a1", "a2")
    assert not getattr(told.home("a0"), flag)
    told.undo("a5", command)
    assert not getattr(part, flag)


def test_every_move_is_told_with_its_reason(told: Told) -> None:
    told.say("x", 7)
    told.say("a9", 0)
    split = told.split("a0", "a9", "a3")
    told.merge("b0", "a9")
    told.say("a9", 7, edited=True)
    told.apply(Deleted(ref("a3")))
    moves = [m for m in told.state.drain().moves if m.ref.message_id in {"x", "a9", "a3"}]
    told_of = {name: [(m.why, m.detail) for m in moves if m.ref.message_id == name] for name in ("x", "a9", "a3")}
    merged = ("merge", f"k{told.state.seq - 2}")
    assert told_of["a9"] == [("joined", None), ("split", split), merged, ("returned", None)]
    assert told_of["a3"] == [("fit", None), ("split", split), merged]
    assert told_of["x"] == []
    assert moves[-1].to_cluster is None


def test_the_second_cluster_of_a_command_must_be_known(told: Told) -> None:
    stray = Commanded("k", CommandName.MERGE, told.home("a0").cluster_id, "kim", other="nowhere")
    assert told.state.stale(stray)
    told.apply(stray)
    assert told.homes() == {"a": [1], "b": [2]}
    assert told.state.space == SPACE
