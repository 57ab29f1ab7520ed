"""What Jira shows of our text: an independent reading of its markup must find plain text only."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.trackers import wiki

MARKUP = "{}[]()|*_+-^~?#!@%\\:;./&<>h1bqcode \n\r\t\x00\x07\u202e\u2060\ud800"
hostile = st.text() | st.text(alphabet=MARKUP + "http://xDP", max_size=80)
ACTIVE = re.compile(r"(?<!\\)(?:\\\\)*[{}\[\]()|*_+^~#!@-]")
LINE_START = re.compile(r"^\s*(?:h\d|bq)\.", re.MULTILINE | re.IGNORECASE)
URL = re.compile(r"https?://[\w./%&=:?#-]+", re.ASCII | re.IGNORECASE)


def shown(markup: str) -> str:
    """Return what a reader sees: Jira's own rule for escapes, and the invisible joiner taken away."""
    return re.sub(r"(?<!\\)\\([-#*_+?^~|%{}\[\]()!@])", r"\1", markup).replace("\u2060", "")


@given(hostile)
@example("{code}x{code} !image.png! [link|x] [~user] @mention {{m}} \\\\ ||h|| ??c??")
@example("h1. a\n  h2. b\nbq. c\n# d\n- e\n* f\n|g|\n----")
@example("\\{code}\\\\{quote}")
@example("&#123;code&#125; :) :D ;) (!) mailto:a@b ftp://x")
def test_nothing_that_arrives_is_active(text: str) -> None:
    rest = URL.sub("", wiki.escape(text))

    assert ACTIVE.search(rest) is None
    assert LINE_START.search(rest) is None
    assert "\\\\" not in rest
    assert "??" not in rest
    assert re.search(r"&#?\w+;|:[DPdp]|(?:https?|ftps?|irc|mailto):(?!\u2060)", rest) is None


@given(hostile)
def test_a_reader_sees_what_was_written(text: str) -> None:
    if not re.search("https?://", text, re.IGNORECASE):
        assert shown(wiki.escape(text)) == wiki.clean(text)


@given(hostile)
def test_cleaning_leaves_nothing_invisible_and_is_done_once(text: str) -> None:
    cleaned = wiki.clean(text)

    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2060\ud800-\udfff]", cleaned)
    assert wiki.clean(cleaned) == cleaned


def test_an_address_stays_a_link_to_what_it_shows() -> None:
    assert wiki.escape("see https://d.co/a_b?c=1#e, ok") == "see https://d.co/a_b?c=1#e\u2060, ok"
    assert wiki.escape("http://x/~a--b|http]") == "http://x/%7Ea-%2Db\u2060\\|http\\]"


@given(hostile, st.integers(100, 400))
def test_the_limits_hold_after_escaping(text: str, limit: int) -> None:
    assert 0 < wiki.length(wiki.summary_line(text * 9)) <= 255
    assert len(wiki.summary_line(text).splitlines()) == 1
    assert wiki.length(wiki.clip(wiki.escape(text * 20), limit)) <= limit
    assert wiki.length(wiki.wrap(wiki.render(text * 20), limit + 200)) <= limit + 200


@given(hostile)
def test_a_label_is_one_word_and_the_same_every_time(text: str) -> None:
    label = wiki.label_slug(text)

    assert re.fullmatch(r"[\w.:-]+", label)
    assert wiki.length(label) <= 255
    assert wiki.label_slug(label) == label


def test_clip_keeps_whole_lines_and_counts_the_rest() -> None:
    ten = "\n".join(["x" * 10] * 10)

    assert wiki.clip(ten, 109) == ten
    assert wiki.clip(ten, 59) == "\n".join(["x" * 10] * 4) + "\n… 6 more lines"
    assert wiki.clip(ten, 58) == "\n".join(["x" * 10] * 3) + "\n… 7 more lines"
    assert wiki.clip("x" * 30 + "\ny", 30) == "x" * 14 + "…\n… 1 more line"


def test_clip_does_not_leave_half_an_escape() -> None:
    for limit in range(30, 50):
        assert re.search(r"\\…", wiki.clip(wiki.escape("*" * 100), limit)) is None


def test_cut_splits_no_emoji() -> None:
    family = "\U0001f469\u200d\U0001f469\u200d\U0001f467"

    assert wiki.cut("ab" + family, 2 + wiki.length(family)) == "ab" + family
    assert wiki.cut("ab" + family, 1 + wiki.length(family)) == "ab"
    assert wiki.cut("ab" + family, 3) == "ab"


def test_the_description_has_headings_and_bullets_and_nothing_else() -> None:
    text = "## Why *now*\n- 12 people\n- h1. twice\n- |x|\nopened\n\n# no list\n### no heading"

    assert wiki.render(text).split("\n") == [
        "h3. Why \\*now\\*",
        "* 12 people",
        "* \u2060h1. twice",
        "* \\|x\\|",
        "",
        "opened",
        "",
        "\\# no list",
        "\\#\\#\\# no heading",
    ]


@given(hostile, hostile, hostile, hostile)
def test_merging_changes_only_our_part(before: str, after: str, old: str, new: str) -> None:
    ours, theirs = wiki.wrap(wiki.render(old)), wiki.wrap(wiki.render(new))

    assert wiki.merge_block(f"{before}\n{ours}\n{after}", wiki.render(new)) == f"{before}\n{theirs}\n{after}"


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_merging_finds_markers_that_were_decorated(line_end: str) -> None:
    block = wiki.wrap("old").replace(wiki.BLOCK_END, f"*{wiki.BLOCK_END}*")

    merged = wiki.merge_block(f"mine\n{block}\nmine too".replace("\n", line_end), "new")

    assert merged == f"mine{line_end}{wiki.wrap('new')}\nmine too"


@pytest.mark.parametrize(
    "existing",
    [
        "",
        "people rewrote it all",
        wiki.BLOCK_START,
        wiki.BLOCK_END,
        f"{wiki.BLOCK_END}\n{wiki.BLOCK_START}",
        wiki.wrap("a") + "\n" + wiki.wrap("b"),
        wiki.wrap("a").replace(wiki.BLOCK_END, f"{wiki.BLOCK_END} said Anna"),
        wiki.wrap("a") + "x" * (wiki.TEXT_MAX - 300),
    ],
)
def test_a_description_that_people_took_over_is_left_alone(existing: str) -> None:
    assert wiki.merge_block(existing, "new") is None


def test_a_marker_within_our_own_text_ends_nothing() -> None:
    block = wiki.wrap(wiki.render(f"one\n{wiki.BLOCK_END}\ntwo"))

    assert wiki.merge_block(f"a\n{block}\nb", "new") == f"a\n{wiki.wrap('new')}\nb"


def test_our_part_gives_way_to_what_people_wrote() -> None:
    people = "x" * 32_000

    merged = wiki.merge_block(f"{people}\n{wiki.wrap('old')}", "new line\n" * 200)

    assert merged is not None
    assert merged.startswith(people)
    assert wiki.length(merged) <= wiki.TEXT_MAX
    assert "more lines" in merged
