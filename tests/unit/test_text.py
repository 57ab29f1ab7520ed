"""What the text functions keep, drop and call an echo."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.text import (
    LOOK_CHARS,
    MAX_CLAUSES,
    clauses,
    content_words,
    fingerprint,
    is_echo,
    mask,
    strip_for_embedding,
)

# Every code point, lone surrogates included, and what the patterns look for more often than chance.
ANY_TEXT = st.lists(
    st.one_of(
        st.text(st.characters(codec=None, exclude_categories=())),
        st.sampled_from(["```", "`", "@", "@ann", "bob: ", "https://x.y/z", "<:a:1>", "<@1>", "^", "\n", "\ud83d"]),
    )
).map("".join)
ONE_MEGABYTE = "the app ```crashes @bob: https://x.y " * 27_000


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Version 12.04 is SLOW", "version 00.00 is slow"),
        ("it’s soooooooo slow", "it's sooo slow"),
        ("Cool, 1000 gooood", "cool, 0000 goood"),
        ("see https://a.example/b?c=1 now", "see  weblink  now"),
        ("www.example.org/x", " weblink "),
        ("run `rm -r x` first", "run  inlinecode  first"),
        ("it says\n```\nboom 1\n```\nwhy", "it says\n codeblock \nwhy"),
        ("thanks @ann-lee!", "thanks  atuser !"),
        ("mail me@example.org", "mail me@example.org"),
        ("nice <:party:123456> <@42>", "nice    "),
    ],
)
def test_mask(text: str, masked: str) -> None:
    assert mask(text) == masked


@given(ANY_TEXT)
def test_any_text_is_taken(text: str) -> None:
    assert {char for char in mask(text) if char.isdecimal()} <= {"0"}
    assert strip_for_embedding(text) == strip_for_embedding(text).strip()
    assert all(word == word.lower() for word in content_words(text))
    assert is_echo(text) in {True, False}
    assert len(clauses(text)) <= MAX_CLAUSES
    assert fingerprint(text) == "" or int(fingerprint(text), 16) >= 0


@pytest.mark.parametrize(
    ("text", "stripped"),
    [
        ("bob: does it work?", "does it work?"),
        ("@bob @ann-lee: it crashes", "it crashes"),
        ("ivan_42: anna: привет всем", "привет всем"),
        ("TypeError: x is undefined", "TypeError: x is undefined"),
        ("Terminal: the cursor jumps", "Terminal: the cursor jumps"),
        ("Question: where is it", "Question: where is it"),
        ("at 12:30 it stopped", "at 12:30 it stopped"),
        ("it crashes, see https://x.example/1 please", "it crashes, see please"),
        ("broken\n```\nlog line\n```\n  since   Monday", "broken since Monday"),
        ("the `--watch` flag", "the `--watch` flag"),
        ("love it <:heart_eyes:123> <a:wave:9>", "love it"),
        ("<@!77> <#12> the voice drops", "the voice drops"),
        ("ask @bob about it", "ask @bob about it"),
        ("https://x.example/1 @bob", ""),
        ("bob:", "bob:"),
        ("🙂", "🙂"),
    ],
)
def test_strip_for_embedding(text: str, stripped: str) -> None:
    assert strip_for_embedding(text) == stripped


@given(st.text(st.characters(categories=["L", "N", "Zs"]), min_size=1))
def test_plain_words_all_stay(text: str) -> None:
    if not text.lower().startswith("www"):
        assert strip_for_embedding(text) == " ".join(text[:LOOK_CHARS].split())


@given(ANY_TEXT)
def test_stripping_twice_is_stripping_once(text: str) -> None:
    once = strip_for_embedding(text)
    assert strip_for_embedding(once) == once


def test_content_words() -> None:
    assert content_words("The app isn’t syncing my Notes since v2, pls fix: https://x.example/a @bob") == (
        "app syncing notes v2 fix".split()
    )
    assert content_words("Приложение вылетает, когда я открываю настройки") == [
        "приложение",
        "вылетает",
        "открываю",
        "настройки",
    ]
    assert content_words("crash crash") == ["crash", "crash"]
    assert content_words("ऐप बार-बार बंद") == ["ऐप", "बार", "बार", "बंद"]
    assert content_words("ok lol 123 :) thanks") == []


ECHOES = """same here|Same here!|+1|+100|me too|Me too, on Android 14|this|This.|THIS ^^|^^|^|same
|same issue on pixel 7|same problem here|exact same thing here|I have the same issue|i get this error too
|having the same problem on iOS 17|can confirm|can confirm, on 3.2 as well|happens to me too|ditto|agreed
|same thing happens to me|seconded|+1 for this|@bob same here|bob: me too|👍|💯💯|same question here
|I'd like that too|we have the same bug since the last update|плюсую|у меня тоже|У меня то же самое
|та же проблема|такая же ошибка на андроид 14|согласен|мне тоже|и у нас так же""".replace("\n", "")
NOT_ECHOES = """same here, and the export fails with large files as well as with small ones|this is broken
|same day delivery never arrives|thanks|me|I see|the same file is listed twice|+1 button does nothing
|this crashes on start|me too busy to test|I agree to the terms but the button stays grey|ok||   |🙂
|exactly at noon it stops|same error: TypeError x is null|can you confirm?|i have this crazy idea
|get this fixed|see this page|у меня вылетает|то есть не работает|мне нравится""".replace("\n", "")


@pytest.mark.parametrize("text", ECHOES.split("|"))
def test_echo(text: str) -> None:
    assert is_echo(text)


@pytest.mark.parametrize("text", NOT_ECHOES.split("|"))
def test_no_echo(text: str) -> None:
    assert not is_echo(text)


@pytest.mark.parametrize(
    "copied",
    [
        "FREE coins at https://evil.example/77 join now",
        "free coins at https://evil.example/78 — join NOW!!!",
        "@victim free coins at www.evil.example join now 🎉🎉",
        "Fre\u0301e\u200b coins\nat join now 12345",
    ],
)
def test_copies_share_a_fingerprint(copied: str) -> None:
    assert fingerprint(copied) == fingerprint("free coins at join now")


def test_fingerprints_are_stable_and_differ() -> None:
    assert fingerprint("Free coins") == "faca1698401dfeec"  # stored with messages: must not change by itself
    assert fingerprint("free coin") != fingerprint("free coins")
    assert fingerprint("не работает") != fingerprint("работает")
    assert fingerprint("+1") == fingerprint("🙂 123 !!!") == ""
    tails = ("x " * 5_000 + "one", "x " * 5_000 + "two")
    assert fingerprint(tails[0]) != fingerprint(tails[1])


@given(st.text(st.characters(max_codepoint=0x24F)), st.text("0123456789 .,!?-\n", max_size=5))
def test_fingerprint_ignores_digits_and_signs(text: str, noise: str) -> None:
    plain = "".join(char for char in text if char not in "@<`:/wW")  # no part of a link or a mention
    assert fingerprint(plain + " " + noise) == fingerprint(plain)


@given(st.text(st.characters(categories=["L", "N", "P", "Zs"], max_codepoint=0x4FF, exclude_characters="@ıſ")))
def test_fingerprint_ignores_case(text: str) -> None:
    assert fingerprint(text.lower()) == fingerprint(text.upper()) == fingerprint(text)


def test_clauses() -> None:
    text = "Great app, but it blacks out! Version 3.2 was fine; now\nonly a restart helps ... I wish it worked"
    assert clauses(text) == [
        "Great app",
        "but it blacks out!",
        "Version 3.2 was fine;",
        "now",
        "only a restart helps ...",
        "I",
        "wish it worked",
    ]
    assert clauses("broken\n```\na\nb\n```\nhelp") == ["broken", "help"]
    assert clauses("... !!! 12") == []
    assert clauses("a. " * 50) == ["a."] * MAX_CLAUSES


@pytest.mark.parametrize("function", [mask, strip_for_embedding, content_words, is_echo, fingerprint, clauses])
@pytest.mark.parametrize("text", [ONE_MEGABYTE, "`" * 1_000_000, "bob: " * 200_000, "@" * 1_000_000, "a" * 1_000_000])
def test_a_megabyte_takes_a_moment(function: object, text: str) -> None:
    assert callable(function)
    begun = time.perf_counter()
    function(text)
    assert time.perf_counter() - begun < 2.0
