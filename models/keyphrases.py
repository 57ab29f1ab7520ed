"""What a cluster is about, in words that several people used; pure.

Class-based tf-idf (BERTopic, arXiv 2203.05794: frequency in the class times log(1 + A / frequency over
all)) with three changes. Frequency counts people, not occurrences: one person cannot fill a summary, and
what fewer than three said is left out, because a ticket's summary is kept for ever. The background holds
words, not 1-3-grams (a tenth of the memory), so a phrase weighs the sum of its words' idf. And it is kept
by adding and removing single messages, so that one changed cluster can be described without the others.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

MIN_AUTHORS = 3  # design §5: a summary holds only words used by three authors or more
MAX_WORDS = 3
SUMMARY_MAX_CHARS = 80  # fits one line of a board and of a mail subject; Jira would take 255
LOOK_CHARS = 4_000  # longest post of a chat platform; what is longer is a pasted log
WORD_MAX_CHARS = 30  # longer "words" are tokens and hashes

# What a phrase must neither hold nor span: code, placeholders, links, chat markup, mail, handles, a leading
# "name:", numbers of five digits and more however grouped (phones, cards, accounts), long mixed ids.
_PRIVATE = re.compile(
    r"""```.*?```|`[^`\n]*`|\[<?-?[A-Z]+-?>?\]|(?:https?://|www\.)\S+|<a?[:@#][^>\s]*>
    |[\w.+%-]+@[\w-]+(?:\.[\w-]+)+|(?<!\w)[@#/]\w[\w.-]*|^\s*[^\W\d_][\w-]{1,31}:\s
    |\+?\(?\d(?:[\s().-]{0,2}\d){4,}|\b(?=\w*\d)(?=\w*[^\W\d])\w{10,}\b""",
    re.VERBOSE | re.DOTALL,
)
_BREAK = re.compile(r"[.,;:!?()\[\]{}\"\u201c\u201d|\n\r\t\0]+|\s[-\u2013\u2014]+\s")
_WORD = re.compile(r"\w+(?:['-]\w+)*")
_LETTER = re.compile(r"[^\W\d_]")
_SURROGATE = re.compile("[\ud800-\udfff]")

# Words about products in scikit-learn's list of stop words.
_NOT_STOP = frozenset(
    """back bill bottom call computer cry describe detail empty fill find fire front full interest move name
    side show system top""".split()
)
# May begin a phrase ("not working", "can't log in"), never be one or end one.
_NEGATIONS = frozenset("not no never can't cannot won't doesn't don't didn't isn't without unable".split())
_CHAT = frozenset(
    """hi hey hello thanks thank thx ty pls please lol lmao haha ok okay yes yeah yep yup no nope oh ah hmm
    um well just really very got get gets getting like also still so now ever maybe sure right good
    bad thing things stuff anyone anybody someone everybody know think want wanted need needed tell
    let make makes made going gonna wanna guys guy does did doing don didn doesn isn wasn aren won
    couldn wouldn shouldn hasn haven hadn use used using try tried trying said say says way bit lot
    kind actually already again today yesterday tomorrow am pm""".split()
)


@dataclass(frozen=True)
class Phrase:
    """One to three words that several people used.

    Attributes
    ----------
    text
        Lower case, single spaces.
    authors
        How many distinct people used it.
    score
        > 0, higher says more; comparable within one cluster only.
    """

    text: str
    authors: int
    score: float


class Vocabulary:
    """In how many messages of a space each word occurs: what is common is no key phrase.

    >>> words = Vocabulary()
    >>> words.add("Dark mode please"); words.add("the mode button")
    >>> words.documents, words.count("mode"), words.count("dark")
    (2, 2, 1)
    """

    def __init__(self) -> None:
        self._documents = 0
        self._counts: Counter[str] = Counter()

    @property
    def documents(self) -> int:
        """Messages counted at present."""
        return self._documents

    def count(self, word: str) -> int:
        """Messages in which the lower-case word occurs."""
        return self._counts[word]

    def add(self, text: str) -> None:
        """Count a message."""
        self._documents += 1
        self._counts.update(_vocabulary_of(text))

    def remove(self, text: str) -> None:
        """Take back a message that was added; one that was not raises ValueError and changes nothing."""
        words = _vocabulary_of(text)
        if not self._documents or any(self._counts[word] < 1 for word in words):
            raise ValueError("this text was not added")
        self._documents -= 1
        for word in words:
            self._counts[word] -= 1
            if not self._counts[word]:
                del self._counts[word]

    def weight(self, word: str) -> float:
        """Inverse document frequency, > 0; an unknown word weighs like one seen once."""
        return math.log1p((self._documents + 1) / max(1, self._counts[word]))


def key_phrases(
    messages: Sequence[tuple[str, str]],
    background: Vocabulary,
    *,
    limit: int = 5,
    min_authors: int = MIN_AUTHORS,
) -> list[Phrase]:
    """Describe one cluster.

    Parameters
    ----------
    messages
        (author, text) of the cluster's members; any order.
    background
        The messages of the whole space, with or without these.
    limit
        Phrases at most.
    min_authors
        Distinct people who must have used a phrase.

    Returns
    -------
    Best first, not saying one thing twice; may be empty. No phrase begins or ends with a stop word, and none
    holds a link, handle, mail address, phone number, or only digits.
    """
    authors: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
    for author, text in messages:
        for words in _candidates(text):
            authors[words].add(author)
    scored = [
        Phrase(" ".join(words), len(people), len(people) * sum(map(background.weight, _content(words))))
        for words, people in authors.items()
        if len(people) >= min_authors
    ]
    scored.sort(key=lambda phrase: (-phrase.score, phrase.text))
    chosen: list[Phrase] = []
    said: set[str] = set()
    for phrase in scored:
        if len(chosen) >= limit:
            break
        parts = phrase.text.replace("-", " ").split()  # "top-up" says what "top" says
        stems = {_stem(word) for word in parts if _may_end(word)}
        if stems and 2 * len(stems & said) >= len(stems):
            continue
        said |= stems
        chosen.append(phrase)
    return chosen


def summary(phrases: Sequence[Phrase], taken: Collection[str] = ()) -> str:
    """Make a short line of the phrases, at most 80 characters.

    Parameters
    ----------
    phrases
        Best first, from `key_phrases`.
    taken
        Summaries already in use; the result differs from each, ignoring case.

    Returns
    -------
    Up to three phrases, more or others where that line is taken, at last with a number; "" without phrases.
    """
    used = {line.casefold() for line in taken}
    texts = [phrase.text for phrase in phrases if len(phrase.text) <= SUMMARY_MAX_CHARS - 5]
    if not texts:
        return ""
    lines = [_line(texts[:count]) for count in (3, *range(4, len(texts) + 1), 2, 1)]
    lines += [_line(texts[start : start + 3]) for start in range(1, len(texts))]
    for line in lines:
        if line.casefold() not in used:
            return line
    # five characters kept free for " (99)"
    number, shortest = 2, _line(texts[:3], SUMMARY_MAX_CHARS - 5)
    while f"{shortest} ({number})".casefold() in used:
        number += 1
    return f"{shortest} ({number})"


def _line(texts: Sequence[str], limit: int = SUMMARY_MAX_CHARS) -> str:
    line = texts[0]
    for text in texts[1:]:
        if len(line) + 2 + len(text) <= limit:
            line = f"{line}, {text}"
    return line[0].upper() + line[1:]


def _runs(text: str) -> Iterator[list[str]]:
    """Lower-case words in a row, with no number, nothing private and no end of a sentence between them."""
    plain = _SURROGATE.sub(" ", text[:LOOK_CHARS]).replace("\u2019", "'")
    for piece in _BREAK.split(_PRIVATE.sub("\n", plain)):
        run: list[str] = []
        for word in _WORD.findall(piece.lower()):
            if len(word) > WORD_MAX_CHARS or not _LETTER.search(word):
                yield run
                run = []
            else:
                run.append(word)
        yield run


def _vocabulary_of(text: str) -> set[str]:
    return {word for run in _runs(text) for word in run}


def _candidates(text: str) -> set[tuple[str, ...]]:
    found: set[tuple[str, ...]] = set()
    for run in _runs(text):
        for start in range(len(run)):
            for end in range(start + 1, min(start + MAX_WORDS, len(run)) + 1):
                words = tuple(run[start:end])
                if _may_start(words[0], alone=len(words) == 1) and _may_end(words[-1]):
                    found.add(words)
    return found


def _may_start(word: str, *, alone: bool) -> bool:
    return _may_end(word) or (not alone and word in _NEGATIONS)


def _may_end(word: str) -> bool:
    return len(word) > 1 and word not in _stop_words()


def _content(words: tuple[str, ...]) -> list[str]:
    return [word for word in words if _may_end(word)]


def _stem(word: str) -> str:
    """Fold together the forms of a word that would read as a repetition beside one another."""
    for ending in ("ing", "ed", "es", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


@cache
def _stop_words() -> frozenset[str]:
    # imported here: scikit-learn takes a second
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS  # type: ignore[import-untyped]

    plain = (ENGLISH_STOP_WORDS - _NOT_STOP) | _CHAT | _NEGATIONS
    endings = ("'s", "'re", "'m", "'ve", "'ll", "'d")
    return frozenset(plain | {word + ending for word in plain for ending in endings} | {"ain't", "let's"})
