"""How like an issue is: scaled by what is usual around it, by meaning and by words; and what is kept of its words."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.backlog import HASHES, TEXT_CHARS, Shelf, count_words, issue_text, pack, said_by, unpack

DIMENSIONS = 32


def unit(rows: npt.ArrayLike) -> npt.NDArray[np.float32]:
    made = np.atleast_2d(np.asarray(rows, np.float64))
    return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True), np.float32)


def around(middle: npt.NDArray[np.float32], count: int, spread: float, seed: int) -> npt.NDArray[np.float32]:
    """Return `count` unit rows around a direction."""
    rng = np.random.default_rng(seed)
    return unit(middle + spread * unit(rng.normal(size=(count, DIMENSIONS))))


def axis(which: int) -> npt.NDArray[np.float32]:
    return np.asarray(unit(np.eye(DIMENSIONS)[which])[0])


def shelf(vectors: npt.NDArray[np.float32], texts: list[str] | None = None) -> Shelf:
    return Shelf.of(vectors, count_words(texts or [f"w{row}" for row in range(len(vectors))]))


def test_sameness_is_one_and_what_is_usual_is_nothing() -> None:
    crowd = around(axis(0), 40, 0.8, 1)
    there = shelf(crowd)

    scores = there.likeness(said_by(crowd[3:4], ["w3"]))

    assert scores[3] == pytest.approx(1, abs=1e-3)
    assert scores.argmax() == 3
    assert np.delete(scores, 3).max() < 0.5


def test_one_cosine_means_less_in_a_crowd_than_alone() -> None:
    """In the crowd every issue is that near to every other."""
    crowd, alone = around(axis(0), 40, 0.45, 1), around(axis(1), 1, 0.45, 2)
    there = shelf(np.concatenate([crowd, alone]))

    to_crowd = there.likeness(said_by(unit(axis(0)), ["said"]))
    to_alone = there.likeness(said_by(unit(axis(1)), ["said"]))

    assert float(crowd[0] @ axis(0)) == pytest.approx(float(alone[0] @ axis(1)), abs=0.1)
    assert to_alone[-1] > to_crowd[:40].max() + 0.1


def test_words_tell_apart_what_means_the_same_to_the_model() -> None:
    vectors = around(axis(0), 30, 0.5, 1)
    texts = [f"upgrade part{row} to the next version" for row in range(30)]
    there = shelf(vectors, texts)

    scores = there.likeness(said_by(unit(axis(0)), ["please upgrade part7"]))

    assert scores.argmax() == 7


def test_the_messages_of_a_cluster_count_a_word_by_how_many_say_it() -> None:
    vectors = around(axis(0), 12, 0.3, 1)
    there = shelf(vectors[:2], ["crash in the exporter", "crash in the importer"])
    said = ["the exporter crash", "exporter again", "exporter", "importer importer importer importer"]

    scores = there.likeness(said_by(unit([axis(0)] * 4), said))

    assert said_by(unit([axis(0)] * 4), said).words.max() == 3
    assert scores[0] > scores[1] - abs(float((vectors[0] - vectors[1]) @ axis(0)))


def test_a_small_tracker_is_judged_by_what_is_unrelated() -> None:
    near, far = unit(axis(0) + 0.3 * axis(1)), unit(axis(0) + 2.5 * axis(1))
    said = said_by(unit(axis(0)), ["said"])

    assert shelf(near).likeness(said)[0] > 0.33
    assert shelf(far).likeness(said)[0] < 0.1
    assert shelf(near[:0], []).likeness(said).shape == (0,)


def test_the_many_rows_of_a_shelf_are_as_one_block() -> None:
    rows = around(axis(0), 600, 1.0, 5)
    there = shelf(rows)

    near = there.nearness()
    np.fill_diagonal(near, -np.inf)

    assert there.usual == pytest.approx(-np.sort(-near, axis=1)[:, :10].mean(axis=1), abs=1e-5)


def test_what_is_known_of_a_shelf_is_not_found_out_again() -> None:
    rows = around(axis(0), 60, 1.0, 5)
    texts = [f"w{row}" for row in range(60)]
    whole = shelf(rows, texts)
    known = whole.usual.copy()
    known[[3, 59]] = np.nan
    known[7] = 0.125

    again = Shelf.of(rows, count_words(texts), known)

    assert again.usual[[3, 59]] == pytest.approx(whole.usual[[3, 59]], abs=1e-6)
    assert again.usual[7] == 0.125
    assert np.isnan(known[3])


@given(st.lists(st.text(max_size=200), max_size=8))
def test_words_come_back_as_they_were_packed(texts: list[str]) -> None:
    counts = count_words(texts)
    again = unpack(pack(counts))

    assert again.shape == (len(texts), HASHES)
    assert abs(again - counts).sum() == 0


def test_no_word_is_kept_as_it_was_written() -> None:
    (packed,) = pack(count_words(["xylophone xylophone quartz"]))

    assert len(packed) == 10
    assert b"xyl" not in packed


@given(st.text(max_size=300), st.text(max_size=300))
def test_an_issue_is_one_line_of_bounded_length(summary: str, description: str) -> None:
    text = issue_text(summary, description * 100)

    assert len(text) <= TEXT_CHARS
    assert text.startswith(summary[:TEXT_CHARS])
    assert issue_text("Crash", "on\r\n\r\nstart\t{code}x{code}") == "Crash. on start {code}x{code}"
