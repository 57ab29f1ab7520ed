"""Summaries hold only what three people said."""

import re
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.keyphrases import Phrase, Vocabulary, key_phrases, summary

BACKGROUND = ["the app is slow today", "my card arrived", "app update question", "hello app people"] * 5


def background(*more: str) -> Vocabulary:
    words = Vocabulary()
    for text in [*BACKGROUND, *more]:
        words.add(text)
    return words


def phrases(*messages: tuple[str, str]) -> list[str]:
    return [phrase.text for phrase in key_phrases(messages, background())]


def test_the_shared_phrase_comes_first_and_common_words_do_not() -> None:
    found = key_phrases(
        [("a", "please add dark mode to the app"), ("b", "Dark mode!!"), ("c", "need dark mode in app")],
        background(),
    )
    assert (found[0].text, found[0].authors) == ("dark mode", 3)
    assert "app" not in [phrase.text for phrase in found]  # two authors only


def test_three_messages_of_one_person_are_one_person() -> None:
    assert phrases(("a", "zebra crossing"), ("a", "zebra crossing"), ("b", "zebra crossing")) == []
    assert phrases(("a", "zebra crossing"), ("c", "zebra crossing"), ("b", "zebra crossing")) == ["zebra crossing"]


@pytest.mark.parametrize(
    "private",
    ["@johnny_b", "john.doe@example.org", "+49 170 1234567", "555-123-4567", "4111 1111 1111 1111",
     "20240131", "https://example.org/secret", "<@123456789>", "a8f3c2e19b7d", "42", "12.5", "x" * 40,
     "#123"],
)  # fmt: skip
def test_nothing_private_gets_in_however_many_say_it(private: str) -> None:
    found = phrases(*[(name, f"refund {private} missing") for name in "abcde"])
    assert sorted(found) == ["missing", "refund"]


def test_no_stop_word_at_the_ends_and_negation_kept() -> None:
    assert phrases(*[(name, "it is not syncing with the calendar of mine") for name in "abc"])[0] in (
        "not syncing",
        "syncing with the calendar",
        "calendar",
    )
    for text in phrases(*[(name, "it is not syncing with the calendar of mine") for name in "abc"]):
        assert text.split()[-1] not in {"not", "it", "is", "with", "the", "of", "mine"}
        assert text.split()[0] not in {"it", "is", "with", "the", "of", "mine"}


def test_phrases_do_not_span_sentences_and_do_not_repeat_one_another() -> None:
    found = phrases(*[(name, "export fails. calendar empty, exports failing") for name in "abc"])
    assert "fails calendar" not in found
    assert not {"export fails", "exports failing"} <= set(found)


def test_vocabulary_is_what_was_added_and_not_removed() -> None:
    words = background("zebra zebra")
    assert (words.documents, words.count("zebra"), words.count("app")) == (21, 1, 15)
    words.remove("zebra zebra")
    assert (words.documents, words.count("zebra"), words.count("app")) == (20, 0, 15)
    with pytest.raises(ValueError, match="not added"):
        words.remove("app zebra")
    assert (words.documents, words.count("app")) == (20, 15)
    with pytest.raises(ValueError, match="not added"):
        Vocabulary().remove("")


@given(st.lists(st.text(max_size=40), max_size=8))
def test_adding_and_removing_leaves_nothing(texts: list[str]) -> None:
    words = Vocabulary()
    for text in texts:
        words.add(text)
    for text in reversed(texts):
        words.remove(text)
    assert words.documents == 0
    assert words.weight("anything") == Vocabulary().weight("anything")


def test_rare_words_weigh_more() -> None:
    words = background("zebra")
    assert words.weight("unseen") >= words.weight("zebra") > words.weight("card") > words.weight("app") > 0


WORD = st.sampled_from("sync calendar export login not the with card 123456 @bob crash slow".split())
MESSAGES = st.lists(st.tuples(st.sampled_from("abcde"), st.lists(WORD, max_size=9).map(" ".join)), max_size=12)


@given(MESSAGES, st.randoms(use_true_random=False))
def test_every_word_of_a_summary_was_said_by_three_in_any_order(
    messages: list[tuple[str, str]], random: Random
) -> None:
    words = background()
    found = key_phrases(messages, words)
    shuffled = list(messages)
    random.shuffle(shuffled)
    assert key_phrases(shuffled, words) == found
    for word in re.findall(r"\w+", summary(found).lower()):
        assert len({author for author, text in messages if word in text.split()}) >= 3
    for phrase in found:
        said = {author for author, text in messages if f" {phrase.text} " in f" {text} "}
        assert len(said) >= phrase.authors >= 3
    assert len(summary(found)) <= 80


def made(*texts: str) -> list[Phrase]:
    return [Phrase(text, 3, 1.0) for text in texts]


def test_summary_reads_as_a_line_and_avoids_taken_ones() -> None:
    found = made("dark mode", "battery", "night", "screen")
    lines: list[str] = []
    for _ in range(12):
        lines.append(summary(found, lines))
    assert lines[:2] == ["Dark mode, battery, night", "Dark mode, battery, night, screen"]
    assert len({line.casefold() for line in lines}) == 12
    assert summary(found, ["DARK MODE, BATTERY, NIGHT"]) == lines[1]
    assert summary([], ["x"]) == ""


@given(
    st.lists(st.text("abcd ", min_size=1, max_size=92).filter(lambda text: text.strip() == text), max_size=6),
    st.integers(0, 15),
)
def test_summary_is_short_and_distinct(texts: list[str], rounds: int) -> None:
    taken: list[str] = []
    for _ in range(rounds):
        line = summary(made(*texts), taken)
        assert len(line) <= 80
        assert line == "" or line.casefold() not in {one.casefold() for one in taken}
        taken.append(line)
