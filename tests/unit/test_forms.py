"""What short and empty texts are: links, dumps, greetings; clear in few words; agreements that lean on a parent."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.forms import DUMP, GREETING, LINK, clear_in_few_words, form_of, leans_on_parent
from models.headlines import headlines
from models.keyphrases import Vocabulary
from models.text import content_words, is_echo, mask

LEANING = """for me too since 5.2, on android|doesn't work here either|not working for me either
|also on windows|it crashes for me as well|I have this too|still happening here too|same on my end|same for us on 3.1
|mine is broken too|it does that for me as well|happening to us as well on the web|also happening here
|it fails here too|I see this as well|also not working on firefox|broken for me too after the update|me neither
|ours crashes too|can't reproduce it either|also stuck here|this happens to me as well, on iOS
|it's the same with the desktop app|I noticed that too|we are seeing this too|it also freezes for us
|I'm affected too|also failing for me in safari|never worked for me either|likewise here, since yesterday"""
STANDING = """the export fails too|dark mode would be nice too|my keyboard does this too|works for me too
|it works fine for me as well|thanks, that worked too|too slow|the price is too high|please add widgets too
|can you try it on windows too?|did you update as well?|use the other button as well|that is also a good idea
|in the same file|also|it is fixed in 5.2|try reinstalling|the same file is listed twice|also the search is slow
|I would also like a calendar|sync duplicates my notes as well|login fails and export fails too|thanks, me too lol
|there are too many notifications|also check the logs|we moved to the other plan too|photos are not uploading either
|the web version doesn't load either|you too|either restart or reinstall"""
CLEAR = """Where is my card?|My card isn't here yet.|What is this €1 charge?|I need my PIN|How do I get a refund?
|Why was I charged?|Can I get a refund?|I didn't make this payment!|I cannot use my PIN.|when will my transfer arrive?
|The top-up did not go through.|I want to get a refund.|Где моя карта?"""
UNCLEAR = """yes|hi|what do you mean?|I don't know|not that I know of|what?|why not?|that's not the point
|I don't understand|how so|nice card|is it?|no idea|crash|lol what was that|what is the problem?|can you help me?"""
FORMS = [
    ("https://example.org/a?b=c", LINK),
    ("@ann https://example.org", LINK),
    ("screenshot: https://example.org/1.png https://example.org/2.png", LINK),
    ("the export fails, see https://example.org/1.png", None),
    ("```\nfoo(bar)\n```", DUMP),
    ("`npm install x`", DUMP),
    ("logs:\n```\nboom\n```", DUMP),
    ("```\nnever closed", DUMP),
    ("2026-01-01 10:00:00 INFO a\n2026-01-01 10:00:01 ERROR b\n2026-01-01 10:00:02 INFO c", DUMP),
    ('Traceback (most recent call last):\n  File "a.py", line 3\nValueError: x', DUMP),
    ("TypeError: x is undefined\n    at foo (a.js:1:2)\n    at bar (b.js:3:4)", DUMP),
    ("the app crashes when I export\nTypeError: x\n    at foo (a.js:1:2)\n    at bar (b.js:3:4)", None),
    ("if I do ```a``` I get this: ```b```", None),
    ("```a``` not working", None),
    ("you're right, it's down: https://example.org/x", None),
    ("it crashes with ```boom``` when saving notes", None),
    ("TypeError: notes is undefined", None),
    ("hi", GREETING),
    ("Good morning everyone!", GREETING),
    ("hello @ann", GREETING),
    ("привет всем", GREETING),
    ("hi, the export fails", None),
    ("good morning, sync is down again", None),
    ("", None),
]


def of(many: str) -> list[str]:
    return many.replace("\n", "").split("|")


def test_there_are_thirty_of_each() -> None:
    assert (len(of(LEANING)), len(of(STANDING))) == (30, 30)


@pytest.mark.parametrize("text", of(LEANING))
def test_a_reply_that_leans(text: str) -> None:
    assert leans_on_parent(text) or is_echo(text)


@pytest.mark.parametrize("text", of(STANDING))
def test_a_reply_that_stands(text: str) -> None:
    assert not leans_on_parent(text)
    assert not is_echo(text)


@pytest.mark.parametrize("text", of(CLEAR))
def test_clear_in_few_words(text: str) -> None:
    assert clear_in_few_words(text)


@pytest.mark.parametrize("text", of(UNCLEAR))
def test_not_clear(text: str) -> None:
    assert not clear_in_few_words(text)


@pytest.mark.parametrize(("text", "form"), FORMS)
def test_form(text: str, form: str | None) -> None:
    assert form_of(text) == form


@given(st.text())
def test_any_text_is_taken(text: str) -> None:
    assert form_of(text) in {LINK, DUMP, GREETING, None}
    assert clear_in_few_words(text) in {True, False}
    assert leans_on_parent(text) in {True, False}


HOSTILE = [
    "word " * 100_000,
    "a" * 500_000,
    "at " * 100_000,
    "." * 300_000,
    "x." * 150_000 + "Error",
    "`" * 300_000,
    "\n" * 300_000,
    "hi there " * 50_000,
    "on in with since after " * 20_000,
    "[" * 300_000,
    "ERROR " * 50_000,
    "same " * 39 + "x",
    "on a " * 38 + "too",
    "hi " * 66 + "\x00",
    "my " * 95,
]


def _headlines(text: str) -> object:
    return headlines([(author, text) for author in "abc"], Vocabulary())


@pytest.mark.parametrize(
    "function", [form_of, clear_in_few_words, leans_on_parent, is_echo, content_words, mask, _headlines]
)
@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:12])
def test_hostile_texts_take_a_moment(function: Callable[[str], object], text: str) -> None:
    function("the export fails")  # what is loaded once is not the text's fault
    begun = time.perf_counter()
    function(text)
    assert time.perf_counter() - begun < 3.0
