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

from models.text import STOP_WORDS, addressed_names

MIN_AUTHORS = 3  # design §5: a summary holds only words used by three authors or more
MAX_WORDS = 3
SHORT_HEADLINE = 2  # words up to which a headline is given a phrase beside it
MAX_LETTERS = 6  # of a phrase in a script that puts no spaces between words
SUMMARY_MAX_CHARS = 80  # fits one line of a board and of a mail subject; Jira would take 255
LOOK_CHARS = 4_000  # longest post of a chat platform; what is longer is a pasted log
MIN_NAME_CHARS = 3
WORD_MAX_CHARS = 30  # longer "words" are tokens and hashes

# What a phrase must neither hold nor span: code, placeholders, links, chat markup, mail, handles, a leading
# "name:", numbers of five digits and more however grouped (phones, cards, accounts), long mixed ids.
_PRIVATE = re.compile(
    r"""```.*?```|`[^`\n]*`|\[<?-?[A-Z]+-?>?\]|(?:https?://|www\.)\S+|<a?[:@#][^>\s]*>
    |[\w.+%-]+@[\w-]+(?:\.[\w-]+)+|(?<!\w)[@#/]\w[\w.-]*|^\s*[^\W\d_][\w-]{1,31}:\s
    |\+?\(?\d(?:[\s().-]{0,2}\d){4,}|\b(?=\w*\d)(?=\w*[^\W\d])\w{10,}\b""",
    re.VERBOSE | re.DOTALL,
)
# Scripts without spaces between words: each letter stands for a word, and what letters belong together shows in what
# several people write.
_UNSPACED = "\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff\u3005\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_UNSPACED_MARKS = "\u0e31\u0e33-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb3-\u0ebc\u0ec8-\u0ece\u102b-\u103e\u17b6-\u17d3\u30fc"
_UNSPACED_LETTER = re.compile(f"[{_UNSPACED}][{_UNSPACED_MARKS}]*")
_BREAK = re.compile(
    r"[.,;:!?()\[\]{}\"\u201c\u201d|\n\r\t\0\u060c\u061b\u061f\u0964\u3001\u3002\uff0c\uff01\uff1f\uff1b\uff1a]+|\s[-\u2013\u2014]+\s"
)
_MARKS = "\u0300-\u036f\u0591-\u05bd\u064b-\u065f\u0900-\u0963\u0966-\u0dff\u0e00-\u0eff\u102b-\u103e\u17b6-\u17d3"
_WORD = re.compile(rf"\w[\w{_MARKS}]*(?:['-]\w[\w{_MARKS}]*)*")
_LETTER = re.compile(r"[^\W\d_]")
_SURROGATE = re.compile("[\ud800-\udfff]")

# Words about products in scikit-learn's list of stop words.
_NOT_STOP = frozenset(
    """back bill bottom call computer cry describe detail empty fill find fire front full interest move name
    side show system top""".split()
)
# May begin a phrase ("not working", "can't log in"), never be one or end one; without its negation a phrase would say
# the opposite of what people said.
NEGATIONS = frozenset(
    """not no never nothing can't cannot couldn't won't wouldn't doesn't don't didn't isn't aren't wasn't weren't
    hasn't haven't hadn't shouldn't without unable cant wont doesnt dont didnt isnt wasnt hasnt havent
    не нет ни без нельзя никак nicht kein keine keinen nie ohne ne pas sans jamais aucun aucune sin nunca não sem
    nunca non senza mai niet geen zonder brak bez değil yok لا لم لن ليس بدون غير 不 没 沒 無 未 别""".split()
)
_CHAT = frozenset(
    """hi hey hello thanks thank thx ty pls please lol lmao haha ok okay yes yeah yep yup no nope oh ah hmm
    um well just really very got get gets getting like also still so now ever maybe sure right good
    bad thing things stuff anyone anybody someone everybody know think want wanted need needed tell
    let make makes made going gonna wanna guys guy does did doing don didn doesn isn wasn aren won
    couldn wouldn shouldn hasn haven hadn use used using try tried trying said say says way bit lot
    kind actually already again today yesterday tomorrow am pm dear team sorry hoping wondering""".split()
)
_OTHER_STOP = frozenset("的 了 吗 呢 吧 是 我 你 他 这 那 和 在 也 都 就 は を が の に で と も か て し".split())
# In a language without a list above a short word that so many of a space's messages hold is no topic.
COMMON_SHARE = 0.1
COMMON_MAX_CHARS = 4
COMMON_MIN_DOCUMENTS = 50
_LISTED = ("the", "to", "is", "и", "не", "в")  # where these are common, the stop lists serve


@dataclass(frozen=True)
class Phrase:
    """One to three words that several people used.

    Attributes
    ----------
    text
        Lower case, single spaces.
    authors
        How many distinct people used it, not counting those who denied it ("not working" is no "working").
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

    def common(self, word: str) -> bool:
        """Tell whether the lower-case word is a short one that turns up everywhere in a space without a stop list."""
        if len(word) > COMMON_MAX_CHARS or self._documents < COMMON_MIN_DOCUMENTS:
            return False
        if self._counts[word] < COMMON_SHARE * self._documents:
            return False
        return all(self._counts[listed] < COMMON_SHARE * self._documents for listed in _LISTED)

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
    banned = names_in(messages)
    authors: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
    denied: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
    for author, text in messages:
        for words, no in _candidates(text, banned, background):
            (denied if no else authors)[words].add(author)
    scored = [
        Phrase(joined(words), len(people), len(people) * sum(map(background.weight, _content(words, background))))
        for words, people in authors.items()
        if len(people) >= min_authors and len(people) > 2 * len(denied.get(words, ()))
    ]
    scored.sort(key=lambda phrase: (-phrase.score, phrase.text))
    chosen: list[Phrase] = []
    said: set[str] = set()
    for phrase in scored:
        if len(chosen) >= limit:
            break
        parts = phrase.text.replace("-", " ").split()  # "top-up" says what "top" says
        stems = {stem(word) for word in parts if says_something(word, background)}
        if stems and 2 * len(stems & said) >= len(stems):
            continue
        said |= stems
        chosen.append(phrase)
    return chosen


def summary(phrases: Sequence[Phrase], taken: Collection[str] = (), headlines: Sequence[Phrase] = ()) -> str:
    """Make a short line, at most 80 characters, that differs from those already in use.

    Parameters
    ----------
    phrases
        Best first, from `key_phrases`.
    taken
        Summaries already in use; the result differs from each, ignoring case.
    headlines
        Best first, from `models.headlines.headlines`.

    Returns
    -------
    The best headline, with the first phrases that it does not say already where it is short or taken; without
    headlines up to three phrases; more or others where that is taken, at last with a number; "" without either.
    """
    used = {line.casefold() for line in taken}
    texts = [phrase.text for phrase in phrases if len(phrase.text) <= SUMMARY_MAX_CHARS - 5]
    lines = [line for headline in headlines for line in _headed(headline.text, texts)]
    if texts:
        lines += [_line(texts[:count]) for count in (3, *range(4, len(texts) + 1), 2, 1)]
        lines += [_line(texts[start : start + 3]) for start in range(1, len(texts))]
    if not lines:
        return ""
    for line in lines:
        if line.casefold() not in used:
            return line
    # five characters kept free for " (99)"
    number, shortest = 2, _line([lines[0]] if headlines else texts[:3], SUMMARY_MAX_CHARS - 5)
    while f"{shortest} ({number})".casefold() in used:
        number += 1
    return f"{shortest} ({number})"


def _headed(headline: str, texts: Sequence[str]) -> list[str]:
    """Return the headline alone and with phrases that add to it; first with one where short or not the most telling."""
    said = {stem(word) for word in headline.lower().replace("-", " ").split()}
    new = [text for text in texts if said.isdisjoint(stem(word) for word in text.replace("-", " ").split())]
    alone = headline[0].upper() + headline[1:]
    with_one = [f"{alone}: {text}" for text in new if len(alone) + 2 + len(text) <= SUMMARY_MAX_CHARS - 5]
    needs_it = len(said) <= SHORT_HEADLINE or new[:1] == list(texts[:1])
    return [*with_one[:1], alone, *with_one[1:]] if needs_it else [alone, *with_one]


def _line(texts: Sequence[str], limit: int = SUMMARY_MAX_CHARS) -> str:
    line = texts[0]
    for text in texts[1:]:
        if len(line) + 2 + len(text) <= limit:
            line = f"{line}, {text}"
    return line[0].upper() + line[1:]


def runs(text: str, banned: Collection[str] = ()) -> Iterator[list[str]]:
    """Give the lower-case words in a row, with nothing private, no number and no end of a clause between them.

    In a script without spaces between words each letter counts as a word. `banned` words end a run, too.
    """
    plain = _SURROGATE.sub(" ", text[:LOOK_CHARS]).replace("\u2019", "'")
    if not plain.isascii():
        plain = _UNSPACED_LETTER.sub(r" \g<0> ", plain)
    for piece in _BREAK.split(_PRIVATE.sub("\n", plain)):
        run: list[str] = []
        for word in _WORD.findall(piece.lower()):
            if len(word) > WORD_MAX_CHARS or word in banned or not _LETTER.search(word):
                yield run
                run = []
            else:
                run.append(word)
        yield run


def names_in(messages: Sequence[tuple[str, str]]) -> frozenset[str]:
    """Return the lower-case words that name people: authors, and who is addressed by `@name`, `name:` or a greeting."""
    names = {author.lower() for author, _ in messages if len(author) >= MIN_NAME_CHARS}
    for _, text in messages:
        names.update(name for name in addressed_names(text) if len(name) >= MIN_NAME_CHARS)
    return frozenset(names)


def joined(words: Sequence[str]) -> str:
    """Return the words as a phrase, without spaces between the letters of a script that has none."""
    phrase = ""
    for word in words:
        phrase += word if not phrase or (unspaced(word) and unspaced(phrase[-1])) else f" {word}"
    return phrase


def unspaced(word: str) -> bool:
    """Tell whether the word is a letter of a script that puts no spaces between words."""
    return not word.isascii() and _UNSPACED_LETTER.match(word) is not None


def says_something(word: str, background: Vocabulary) -> bool:
    """Tell whether a lower-case word is more than a stop word, and may end a phrase."""
    if word in _stop_words() or (len(word) == 1 and not unspaced(word)):
        return False
    return not background.common(word)


def stem(word: str) -> str:
    """Fold together the forms of a word that would read as a repetition beside one another."""
    for ending in ("ing", "ed", "es", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def _vocabulary_of(text: str) -> set[str]:
    return {word for run in runs(text) for word in run}


def _candidates(text: str, banned: Collection[str], background: Vocabulary) -> set[tuple[tuple[str, ...], bool]]:
    """Return phrases, each with whether a negation stands before it: "not working" is not said by "working"."""
    found: set[tuple[tuple[str, ...], bool]] = set()
    for run in runs(text, banned):
        content = [says_something(word, background) for word in run]
        for start, first in enumerate(run):
            no = start > 0 and run[start - 1] in NEGATIONS
            longest = MAX_LETTERS if unspaced(first) else MAX_WORDS
            for end in range(start + 1, min(start + longest, len(run)) + 1):
                alone = end == start + 1
                if not content[end - 1] or (alone and unspaced(first)):
                    continue
                if content[start] or (not alone and first in NEGATIONS):
                    found.add((tuple(run[start:end]), no))
    return found


def _content(words: tuple[str, ...], background: Vocabulary) -> list[str]:
    return [word for word in words if says_something(word, background)]


@cache
def _stop_words() -> frozenset[str]:
    # imported here: scikit-learn takes a second
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS  # type: ignore[import-untyped]

    plain = (ENGLISH_STOP_WORDS - _NOT_STOP) | _CHAT | NEGATIONS | STOP_WORDS | _OTHER_STOP
    endings = ("'s", "'re", "'m", "'ve", "'ll", "'d")
    return frozenset(plain | {word + ending for word in plain for ending in endings} | {"ain't", "let's"})
