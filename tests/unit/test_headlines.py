"""A headline reads as people would say it, and no one alone said it."""

import re
import time
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.headlines import headlines
from models.keyphrases import Vocabulary, key_phrases, summary

EVERYDAY = ["the app is slow today", "my card arrived", "how do I update the app", "hello app people"] * 15


def background(*more: str) -> Vocabulary:
    words = Vocabulary()
    for text in [*EVERYDAY, *more]:
        words.add(text)
    return words


def best(*texts: str) -> str:
    found = headlines([(f"person{at}", text) for at, text in enumerate(texts)], background())
    return found[0].text if found else ""


def test_the_negation_stays_and_what_leads_up_to_it_goes() -> None:
    line = best(
        "I can't log in after the update", "since Monday I can't log in after the update!",
        "hi, I can't log in after the update", "why can't log in after the update?",
    )  # fmt: skip
    assert line == "can't log in after the update"
    assert best(*["I would like to close my business account"] * 3) == "close my business account"


def test_what_most_people_deny_is_never_said_without_its_negation() -> None:
    texts = [f"{name} my card is not working abroad" for name in ("well", "so", "look", "hm")]
    messages = [(f"person{at}", text) for at, text in enumerate(texts)]
    for phrase in headlines(messages, background()):
        assert not re.match("working", phrase.text)
    assert "working" not in [phrase.text for phrase in key_phrases(messages, background())]


def test_a_negation_some_words_before_counts() -> None:
    texts = ["why won't my contactless work", "how come won't my contactless work", "and won't my contactless work"]
    assert "won't my contactless work" in best(*texts)
    line = best(*[f"why {no} my contactless work" for no in ("won't", "doesn't", "can't", "didn't")])
    assert "contactless" not in line


def test_words_are_cased_as_people_write_them_and_shouting_is_not_copied() -> None:
    assert best(*["please change my PIN code"] * 3, "CHANGE MY PIN CODE NOW") == "please change my PIN code"


@pytest.mark.parametrize("name", ["@johnny", "johnny:"])
def test_who_is_addressed_somewhere_is_named_nowhere(name: str) -> None:
    texts = ["ask johnny about the export crash", f"{name} the export crash again", "johnny saw the export crash"]
    messages = [(f"person{at}", text) for at, text in enumerate(texts)]
    said = [phrase.text for phrase in (*headlines(messages, background()), *key_phrases(messages, background()))]
    assert said
    assert not [text for text in said if "johnny" in text]


@pytest.mark.parametrize(
    ("texts", "line"),
    [
        (["приложение вылетает при запуске", "опять приложение вылетает", "у меня приложение вылетает"],
         "приложение вылетает"),
        (["التطبيق يتعطل عند الفتح", "التطبيق يتعطل دائما", "التطبيق يتعطل كثيرا"], "التطبيق يتعطل"),
        (["支付失败了", "又是支付失败", "为什么支付失败"], "支付失败"),
    ],
)  # fmt: skip
def test_other_languages_and_scripts(texts: list[str], line: str) -> None:
    assert best(*texts) == line


WORD = st.sampled_from("sync calendar export login not the my with card 123456 @bob crash can't slow in I".split())
MESSAGES = st.lists(st.tuples(st.sampled_from("abcde"), st.lists(WORD, max_size=12).map(" ".join)), max_size=14)


@given(MESSAGES, st.randoms(use_true_random=False))
def test_every_word_and_every_pair_was_used_by_three_in_any_order(
    messages: list[tuple[str, str]], random: Random
) -> None:
    words = background()
    found = headlines(messages, words)
    shuffled = list(messages)
    random.shuffle(shuffled)
    assert headlines(shuffled, words) == found
    for phrase in found:
        parts = phrase.text.lower().split()
        assert len(parts) >= 2
        for left, right in pairwise(parts):
            said = {author for author, text in messages if f" {left} {right} " in f" {text.lower()} "}
            assert len(said) >= phrase.authors >= 3
    taken: list[str] = []
    for _ in range(4):
        line = summary(key_phrases(messages, words), taken, found)
        assert len(line) <= 80
        assert line == "" or line.casefold() not in {one.casefold() for one in taken}
        taken.append(line)


def test_four_hundred_hostile_messages_take_a_moment() -> None:
    messages = [(f"person{at}", "the app crashes when I export it " * 3_000) for at in range(400)]
    begun = time.perf_counter()
    headlines(messages, background())
    assert time.perf_counter() - begun < 20
