"""Which wordings the cues see; a cue that is shown on a ticket must be true of the message."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.cues import CUE_NAMES, REQUEST_CUES, cue_matrix, has_request


def seen(text: str) -> set[str]:
    """Names of the cues that are not 0."""
    return {name for name, value in zip(CUE_NAMES, cue_matrix([text])[0], strict=True) if value > 0}


def test_names_are_the_columns() -> None:
    assert len(set(CUE_NAMES)) == len(CUE_NAMES) == cue_matrix([""]).shape[1] == 54
    assert set(CUE_NAMES) >= REQUEST_CUES
    assert cue_matrix([]).shape == (0, 54)
    assert cue_matrix(["x"]).dtype == np.float32


@pytest.mark.parametrize(
    ("text", "cue"),
    [
        ("Please add dark mode", "asks for something to be added"),
        ("An equaliser would be really nice", "says what would be nice"),
        ("I wish it had tabs", "wishes for something"),
        ("Feature request: tabs", "calls it a suggestion or feature request"),
        ("Admins should be able to lock a row", "says what the product should have"),
        ("can you please add tabs", "asks whether something can be added"),
        ("How about a sleep timer", "asks with how about or why not"),
        ("Let us pin messages", "begins with what to add"),
        ("5 stars if it had tabs", "names what is missing to be perfect"),
        ("Where is the log?", "begins with a question word"),
        ("so, how do I log in", "asks how to do something"),
        ("is there a way to log in", "begins as a yes-no question"),
        ("It doesn\u2019t load anymore", "says it does not work"),
        ("It doesn't load anymore", "says it got worse"),
        ("the app CRASHED", "speaks of a failure"),
        ("I get a NullPointerException", "names an error"),
        ("upload says error 502", "names an error"),
        ("anyone else seeing this?", "asks whether others have it, too"),
        ("I paid and got nothing", "tells what goes wrong for the writer"),
        ("absolutely gorgeous", "praises"),
        ("kudos to the devs", "thanks or congratulates"),
        ("not worth it", "negates a praise"),
        ("nice, but slow", "turns with but or however"),
        ("you can use the menu", "tells somebody what to do"),
        ("lol ok", "begins with a greeting or small talk"),
        ("see https://x.example", "has a link"),
    ],
)
def test_wording_is_seen(text: str, cue: str) -> None:
    assert cue in seen(text)


@pytest.mark.parametrize(
    ("text", "cue"),
    [
        ("order 4471 arrived", "names an error"),
        ("the debugging guide", "speaks of a failure"),
        ("flag it", "speaks of a failure"),
        ("the forgotten prefix", "asks for a fix"),
        ("this is notable", "negates"),
        ("I know how it works", "begins with a question word"),
        ("badge", "dislikes it strongly"),
    ],
)
def test_parts_of_words_are_not_seen(text: str, cue: str) -> None:
    assert cue not in seen(text)


@pytest.mark.parametrize(
    "text",
    [
        "you should be fine",
        "you should be able to find it in the menu",
        "please support my channel",
        "you need to be level 12",
        "Add me on the other server",
        "add this to your config",
        "let me check",
        "make sure it is plugged in",
        "Support closed my ticket",
        "please contact support",
        "How do I add a user?",
        "I'd like a refund",
        "could you post the log",
        "why is it so slow",
        "If you use docker, mount the folder",
        "Thanks for adding tabs",
    ],
)
def test_advice_and_questions_are_no_requests(text: str) -> None:
    assert not has_request(cue_matrix([text]))[0]


def test_requests_row_by_row() -> None:
    matrix = cue_matrix(["it crashed", "please add tabs", "where is it?", "I wish I could pin it"])
    assert has_request(matrix).tolist() == [False, True, False, True]


def test_shape() -> None:
    columns = {name: place for place, name in enumerate(CUE_NAMES)}
    row = cue_matrix(["WHY??  12!"])[0]
    assert row[columns["has two words at most"]] == 1
    assert row[columns["has question marks"]] == pytest.approx(2 / 3)
    assert row[columns["has exclamation marks"]] == pytest.approx(1 / 3)
    assert row[columns["is written in capitals"]] == 1
    assert row[columns["has many digits"]] == pytest.approx(0.2)
    assert row[columns["has many symbols"]] == pytest.approx(0.3)


@given(st.lists(st.text(st.characters(codec=None, exclude_categories=())), max_size=4))
def test_any_text_gives_bounded_finite_values(texts: list[str]) -> None:
    matrix = cue_matrix(texts)
    assert matrix.shape == (len(texts), len(CUE_NAMES))
    assert np.isfinite(matrix).all()
    assert matrix.min(initial=0) >= 0
    assert matrix.max(initial=0) <= np.log1p(4_000) / 4


def test_a_row_does_not_depend_on_its_batch() -> None:
    texts = ["it crashed", "please add tabs", ""]
    assert np.array_equal(cue_matrix(texts)[1], cue_matrix(["please add tabs"])[0])


@pytest.mark.parametrize("piece", ["please ", "so ", "would be ", "anyone ", "add ", "can you ", "? ", "a:"])
def test_long_repetition_takes_a_moment(piece: str) -> None:
    begun = time.perf_counter()
    cue_matrix([piece * 100_000])
    assert time.perf_counter() - begun < 1.0
