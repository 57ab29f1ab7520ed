"""Which language a message is in; the only module that imports py3langid.

py3langid (BSD-3-Clause) is a naive Bayes over byte n-grams (Lui and Baldwin 2012). It was taken over
lingua because of what it did on chat: 2,000 Gitter messages, 2,000 of banking77, 42 short foreign ones in
Latin script, the detector's answer among 17 languages taken from 12 letters and .7 on (lingua: .5; eld: all
of its 60, no bound). With the 33 languages below: 1 false alarm in 5,000 Gitter messages, 39 of the 42
called foreign. Those were written by hand for this comparison: a smoke test, no benchmark.

=================  ============  ==========  =========  ======  ==========
library            false alarms  foreign     time each  memory  wheel
=================  ============  ==========  =========  ======  ==========
py3langid 0.4.0    0 %           98 %        35 µs      80 MB   4 MB
lingua 2.1.1       .2 %          93 %        430 µs     470 MB  92 MB
lingua, low accur. 2.3 %         95 %        190 µs     40 MB   92 MB
eld 1.0.6          .8 %          98 %        41 µs      40 MB   5 MB
=================  ============  ==========  =========  ======  ==========
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier  # type: ignore[import-untyped]

LOOK_CHARS = 2_000  # a language shows in the first lines; what follows may be a pasted log
MIN_LETTERS = 12  # "noooo", "hhi", "same here" look like any language
MIN_CONFIDENCE = 0.7
# A script of its own is in a message in earnest from this share of its letters on: an English sentence about
# one Chinese setting is English.
SCRIPT_SHARE = 0.3
IDEOGRAPH_WEIGHT = 3  # one Chinese or Japanese sign says as much as about three letters
# Below this share among the languages of a script, its first one stands: three words do not tell Bulgarian.
SCRIPT_CONFIDENCE = 0.8

# Those with the most people online; each rare one more makes slang look like it.
_LATIN = tuple("en de fr es pt it nl pl cs sk hr hu ro sv da no fi et lv lt sl tr id ms vi tl ca sq af sw".split())
# Script: the characters, and its languages, most spoken first. Japanese is known by its kana.
_SCRIPTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "cyrillic": ("\u0400-\u052f", ("ru", "uk", "bg", "sr", "be", "mk", "kk")),
    "greek": ("\u0370-\u03ff\u1f00-\u1fff", ("el",)),
    "hebrew": ("\u0590-\u05ff", ("he",)),
    "arabic": ("\u0600-\u06ff\u0750-\u077f\u08a0-\u08ff", ("ar", "fa", "ur")),
    "devanagari": ("\u0900-\u097f", ("hi", "mr", "ne")),
    "bengali": ("\u0980-\u09ff", ("bn", "as")),
    "gurmukhi": ("\u0a00-\u0a7f", ("pa",)),
    "gujarati": ("\u0a80-\u0aff", ("gu",)),
    "oriya": ("\u0b00-\u0b7f", ("or",)),
    "tamil": ("\u0b80-\u0bff", ("ta",)),
    "telugu": ("\u0c00-\u0c7f", ("te",)),
    "kannada": ("\u0c80-\u0cff", ("kn",)),
    "malayalam": ("\u0d00-\u0d7f", ("ml",)),
    "sinhala": ("\u0d80-\u0dff", ("si",)),
    "thai": ("\u0e00-\u0e7f", ("th",)),
    "lao": ("\u0e80-\u0eff", ("lo",)),
    "burmese": ("\u1000-\u109f", ("my",)),
    "georgian": ("\u10a0-\u10ff", ("ka",)),
    "armenian": ("\u0530-\u058f", ("hy",)),
    "ethiopic": ("\u1200-\u137f", ("am",)),
    "khmer": ("\u1780-\u17ff", ("km",)),
    "hangul": ("\u1100-\u11ff\u3130-\u318f\uac00-\ud7af", ("ko",)),
    "kana": ("\u3041-\u3096\u30a1-\u30fa\u30fc", ("ja",)),
    "han": ("\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff", ("zh",)),
}
# Two in a row: single letters are mathematics (λ) and faces (ಠ_ಠ, ツ).
_RUNS = {name: re.compile(f"[{signs}]{{2,}}") for name, (signs, _) in _SCRIPTS.items()}
_ANY_SCRIPT = re.compile("[" + "".join(signs for signs, _ in _SCRIPTS.values()) + "]+")
_NO_PROSE = re.compile(
    r"```.*?```|`[^`]*`|\[<?-?[A-Z]+-?>?\]|https?://\S+|<a?[:@#]\S*>"  # code, placeholders, links, markup
    r"|\S*[@/\\_#:=<>(){}\[\]|]\S*|\S*\d\S*",  # handles, paths, identifiers, versions
    re.DOTALL,
)
_WORDS = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")


@dataclass(frozen=True)
class Detected:
    """The answer to "which language".

    Attributes
    ----------
    code
        ISO 639-1, or None where the message is too short or too unclear to tell.
    confidence
        0 to 1, of the code; 0 without one.
    """

    code: str | None
    confidence: float


def detect(text: str) -> Detected:
    """Tell the language of a message.

    A script of its own (Cyrillic, Hangul, …) is recognised from two letters on. In Latin script a message of
    under 12 letters of prose, or one that the detector is not sure of, gives None: short English chat is not
    called foreign. Only the first 2,000 characters are read; code, links, handles and numbers are left out.

    >>> detect("lol same on pixel 7").code
    >>> detect("не работает").code
    'ru'
    """
    head = unicodedata.normalize("NFKC", text[:LOOK_CHARS])[:LOOK_CHARS]
    if script := _own_script(head):
        return _within_script(head, script)
    prose = " ".join(_WORDS.findall(_ANY_SCRIPT.sub(" ", _NO_PROSE.sub(" ", head))))
    if sum(map(str.isalpha, prose)) < MIN_LETTERS:
        return Detected(None, 0.0)
    code, confidence = _detector(_LATIN).classify(prose)
    if confidence < MIN_CONFIDENCE:
        return Detected(None, 0.0)
    return Detected(str(code), min(float(confidence), 1.0))


def _own_script(text: str) -> str | None:
    """Name the non-Latin script that the message is written in, if any."""
    if text.isascii():
        return None
    weights = {name: sum(map(len, runs.findall(text))) for name, runs in _RUNS.items()}
    for name in ("han", "kana", "hangul"):
        weights[name] *= IDEOGRAPH_WEIGHT
    if weights["kana"]:
        weights["kana"] += weights.pop("han")
    strongest = max(weights, key=lambda name: weights[name])
    prose = _ANY_SCRIPT.sub(" ", _NO_PROSE.sub(" ", text))
    others = sum(map(str.isalpha, prose))
    share = weights[strongest] / max(1, weights[strongest] + others)
    return strongest if weights[strongest] and share >= SCRIPT_SHARE else None


def _within_script(text: str, script: str) -> Detected:
    languages = _SCRIPTS[script][1]
    if len(languages) == 1:
        return Detected(languages[0], 1.0)
    ranking = dict(_detector(languages).rank(" ".join(_RUNS[script].findall(text))))
    best = max(languages, key=lambda code: ranking[code])
    code = best if ranking[best] >= SCRIPT_CONFIDENCE else languages[0]
    return Detected(code, min(float(ranking[code]), 1.0))


@cache
def _detector(languages: tuple[str, ...]) -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    detector = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    detector.set_languages(languages)
    return detector
