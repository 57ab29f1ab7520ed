"""English chat stays English, other languages are seen."""

import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.language import detect

ENGLISH_CHAT = [
    "lol same on pixel 7", "pls fix asap", "hi", "ok thx", "+1", "dark mode pls", "same here", "nope",
    "gg wp",
    "noooo waaayyyyyyy", "hhi", "no idea why it fails ¯\\_(ツ)_/¯", "ಠ_ಠ", "λ", "login broken again wtf",
    "run `docker compose up -d` again", "https://example.org/über/straße", "@müller ja", "",
    "the app shows 設定 instead of settings for me", "the same thing happens to me after the update",
]  # fmt: skip


@pytest.mark.parametrize("text", ENGLISH_CHAT)
def test_english_chat_is_not_called_foreign(text: str) -> None:
    assert detect(text).code in (None, "en")


@pytest.mark.parametrize("text", ["hi", "+1", "", "12345678901234567890", "😀😀😀", "https://example.org/a/b/c/d"])
def test_too_short_to_tell_is_none(text: str) -> None:
    assert detect(text).code is None
    assert detect(text).confidence == 0.0


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("The app crashes whenever I open the settings", "en"),
        ("Die App stürzt beim Start immer ab", "de"),
        ("impossible de se connecter depuis hier", "fr"),
        ("no puedo iniciar sesión desde ayer", "es"),
        ("não consigo entrar na minha conta", "pt"),
        ("non riesco ad accedere al mio account", "it"),
        ("nie mogę się zalogować od wczoraj", "pl"),
        ("dünden beri giriş yapamıyorum", "tr"),
        ("saya tidak bisa login dari kemarin", "id"),
    ],
)
def test_latin_languages(text: str, code: str) -> None:
    assert detect(text).code == code
    assert 0.7 <= detect(text).confidence <= 1.0


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("ок", "ru"), ("не работает", "ru"), ("Что делать с docker compose up --build", "ru"),
        ("у мене теж не працює після оновлення", "uk"), ("ναι", "el"), ("תודה", "he"), ("شكرا", "ar"),
        ("धन्यवाद", "hi"), ("แอปเด้ง", "th"), ("同じです", "ja"), ("谢谢", "zh"), ("감사", "ko"),
        ("ログインできない", "ja"),
    ],
)  # fmt: skip
def test_other_scripts_are_recognised_when_short(text: str, code: str) -> None:
    assert detect(text).code == code


@given(st.text(max_size=300))
def test_any_text_gets_an_answer_in_range(text: str) -> None:
    found = detect(text)
    assert 0.0 <= found.confidence <= 1.0
    assert (found.code is None) == (found.confidence == 0.0) or found.confidence < 1e-3


@pytest.mark.parametrize("text", ["é" * 10**6, "[<" * 10**6, "`" * 10**6, "\ufdfa" * 10**6, "\ud800" * 10**6])
def test_long_texts_cost_no_more_than_their_beginning(text: str) -> None:
    detect("warm up the detector, please")
    start = time.perf_counter()
    detect(text)
    assert time.perf_counter() - start < 1.0


def test_importing_the_module_loads_no_detector() -> None:
    code = "import sys, models.language; print('py3langid' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
