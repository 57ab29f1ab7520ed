"""The guard against raids: what is one, and that an outage's complaints are none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.embedder import SentenceEmbedder
from models.text import strip_for_embedding
from pipeline.entries import Vector
from pipeline.raid import RAID_SPAN, RaidGuard, Spoken
from pipeline.records import MessageRef

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
WINDOW = timedelta(minutes=10)
OUTAGE = (
    "I can't log in any more, it says server error every time",
    "is the login broken? getting an error on every attempt",
    "server error when signing in, tried three browsers already",
    "cannot sign in since noon, just an error page",
    "login fails for me as well with some internal server error",
    "anyone else unable to log in right now? error 500 here",
    "the sign in page keeps throwing an error at me",
    "my whole team is locked out, login returns a server error",
)
SPAM = (
    "Claim your free crypto bonus at the Lunar Exchange before midnight, friend 4821",
    "Claim your free crypto bonus at the Lunar Exchange before midnight, friend 9177",
    "Claim your free crypto bonus at the Lunar Exchange before midnight, friend 2093",
    "Claim your free crypto bonus at the Lunar Exchange before midnight, friend 5560",
    "Claim your free crypto bonus at the Lunar Exchange before midnight, friend 7314",
    "Claim your free crypto bonus at the Lunar Exchange before midnight, friend 6602",
)


@pytest.fixture(scope="module")
def embedder() -> SentenceEmbedder:
    return SentenceEmbedder.load()


def say(guard: RaidGuard, seq: int, vector: Vector, at: datetime = T0, author: str = "", text: str = "") -> int:
    """Let an account say something; return how many messages are a raid with it."""
    author = author or f"account {seq}"
    one = Spoken(seq, MessageRef("discord", str(seq)), author, at, text or f"text {seq}")
    guard.add(one, vector)
    return len(guard.raid(one, vector, WINDOW, authors=5))


def vectors(embedder: SentenceEmbedder, texts: tuple[str, ...]) -> list[Vector]:
    return list(embedder.encode([strip_for_embedding(text) for text in texts]))


def test_many_new_accounts_with_nearly_one_text_are_a_raid(embedder: SentenceEmbedder) -> None:
    guard = RaidGuard(0.95)
    found = [say(guard, seq, vector) for seq, vector in enumerate(vectors(embedder, SPAM), start=1)]
    assert found == [0, 0, 0, 0, 5, 6]


def test_an_outage_is_no_raid_whoever_reports_it(embedder: SentenceEmbedder) -> None:
    guard = RaidGuard(0.95)
    assert not any(say(guard, seq, vector) for seq, vector in enumerate(vectors(embedder, OUTAGE), start=1))


E1 = np.array([1, 0], np.float32)
E2 = np.array([0, 1], np.float32)
NEAR_E1 = np.array([0.96, 0.28], np.float32)
FAR_FROM_E1 = np.array([0.94, 0.3412], np.float32)


@pytest.mark.parametrize(("vector", "raid"), [(NEAR_E1, 5), (FAR_FROM_E1, 0)])
def test_near_is_a_cosine(vector: Vector, raid: int) -> None:
    guard = RaidGuard(0.95)
    for seq in range(1, 5):
        assert say(guard, seq, E1) == 0
    assert say(guard, 5, vector) == raid


def test_accounts_that_are_known_here_raid_nobody_unless_word_for_word() -> None:
    guard = RaidGuard(0.95)
    for seq in range(1, 4):
        say(guard, seq, E2, at=T0 - timedelta(hours=3), author=f"old {seq}")
    for seq in range(4, 7):
        say(guard, seq, E1, author=f"old {seq - 3}")
    assert [say(guard, 7, E1), say(guard, 8, E1), say(guard, 9, E1)] == [0, 0, 0]
    assert say(guard, 10, E1) == 7  # four of seven are new
    for seq in range(11, 14):
        assert say(guard, seq, E2, author=f"old {seq - 10}", text="copied") == 0
    say(guard, 14, E2, text="copied")
    assert say(guard, 15, E2, text="copied") == 5


def test_one_account_time_and_memory_make_no_raid() -> None:
    guard = RaidGuard(0.95)
    assert not any(say(guard, seq, E1, author="one") for seq in range(1, 9))
    guard = RaidGuard(0.95)
    assert not any(say(guard, seq, E1, at=T0 + seq * WINDOW / 3) for seq in range(1, 9))
    guard = RaidGuard(0.95)
    assert not any(say(guard, seq * RAID_SPAN // 3, E1) for seq in range(1, 9))


def test_what_was_dropped_counts_no_more() -> None:
    guard = RaidGuard(0.95)
    for seq in range(1, 5):
        say(guard, seq, E1)
    guard.drop(2)
    guard.drop(2 + RAID_SPAN)
    assert say(guard, 5, E1) == 0
    assert say(guard, 6, E1) == 5


said = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 30)), min_size=1, max_size=40)


@given(said, st.integers(0, 40))
def test_what_is_found_does_not_depend_on_what_was_forgotten_and_loaded_anew(
    messages: list[tuple[int, int, int]], cut: int
) -> None:
    centres = [E1, NEAR_E1, E2, FAR_FROM_E1]
    spoken = [
        (Spoken(seq, MessageRef("d", str(seq)), f"a{author}", T0 + timedelta(minutes=minute), f"t{seq % 7}"), kind)
        for seq, (author, kind, minute) in enumerate(messages, start=1)
    ]
    guard, loaded = RaidGuard(0.95), RaidGuard(0.95)
    for one, kind in spoken[:cut]:
        guard.add(one, centres[kind])
    for one, kind in reversed(spoken[:cut]):
        loaded.add(one, centres[kind])
    for one, kind in spoken[cut:]:
        for each in (guard, loaded):
            each.add(one, centres[kind])
        found = guard.raid(one, centres[kind], WINDOW, 3)
        assert found == loaded.raid(one, centres[kind], WINDOW, 3)
        assert not found or one in found
