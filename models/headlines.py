"""A cluster's headline: the part of a sentence that says best what many of its people say; pure.

Extractive compression in the manner of Filippova (COLING 2010): words are nodes, neighbours are edges, a headline is a
walk along edges that several people used. Here the walk must also stand in a message as it is, so that it reads
as someone would say it, and every word and every pair of neighbours was used by three people or more, so that
it is no one's sentence. The one wins whose words most of the people use and the rest of the space does not.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import TypeVar

from models.keyphrases import (
    MIN_AUTHORS,
    NEGATIONS,
    Phrase,
    Vocabulary,
    joined,
    names_in,
    runs,
    says_something,
    stem,
    unspaced,
)

MAX_WORDS = 9
MAX_LETTERS = 20  # of a script without spaces
MAX_CHARS = 64  # leaves room for a distinguishing phrase or a number
MAX_RUNS = 4_000  # a cluster of pasted logs must not take seconds
DENIAL_REACH = 3  # words after a negation that it still denies: "does not let me log in"
LIMIT = 12
_EDGE = ""  # stands for the beginning and the end of a clause
_FORMS = re.compile(r"[^\W\d_][\w'-]*")

# May end a headline though they are stop words: "can't log in", "the app is down", "does not work".
_PARTICLES = frozenset("in out up down on off back away again anymore".split())

# What people say before they say it: a title does without ("I would like to", "can you please help me", "I think").
_LEAD = re.compile(
    r"""(?:(?:hi|hello|hey|ok|so|but|and|or|also|because|since|that|which|now|then|just|well|please)\ )*
    (?:(?:i'?(?:m|\ am)\ (?:trying|looking|hoping|wondering(?:\ how)?)|i\ was\ (?:trying|hoping|looking)
      |i\ (?:want|need|wanted|needed|would\ like|have)|i'd\ like|would\ like|want|need|like)\ to
    |i\ (?:think|believe|guess|see|noticed|know)(?:\ that)?
    |(?:(?:can|could|would|will)\ (?:you|i|we|someone)|how\ about|help\ me|tell\ me|let\ me\ know|allow\ me\ to))[ ]
    (?:please\ )?(?:(?:help\ me|tell\ me|let\ me\ know)\ )?(?:to\ )?(?:please\ )?""",
    re.VERBOSE,
)

_LEADS = frozenset(
    """hi hello hey ok so but and or also because since that which now then just well please i i'm i'd im would want
    need like can could will how help tell let allow""".split()
)
_POSSESSIVES = frozenset("my our".split())
_Key = TypeVar("_Key")
_Run = tuple[str, ...]


@dataclass(frozen=True)
class _Shared:
    """How many people used which word, put which two beside one another, and began a clause with which two."""

    people: int
    words: Mapping[str, int]
    pairs: Mapping[tuple[str, str], int]
    starts: Mapping[tuple[str, str], int]
    denied_before: Mapping[tuple[str, str], int]
    denied_after: Mapping[str, int]
    least: int


def headlines(
    messages: Sequence[tuple[str, str]],
    background: Vocabulary,
    *,
    limit: int = LIMIT,
    min_authors: int = MIN_AUTHORS,
) -> list[Phrase]:
    """Return headlines for one cluster, best first.

    Parameters
    ----------
    messages
        (author, text) of the cluster's members; any order.
    background
        The messages of the whole space, with or without these.
    limit
        Headlines at most.
    min_authors
        Distinct people who must have used each word and each pair of neighbours.

    Returns
    -------
    Two words or more each, at most `MAX_CHARS` characters, cased as most people write them; no two with the same
    content. `authors` are those who used its rarest pair of neighbours. Empty where people share no phrase.
    """
    banned = names_in(messages)
    spoken = [(author, tuple(run)) for author, text in messages for run in runs(text, banned) if run]
    spoken = sorted(set(spoken))[:MAX_RUNS]
    shared = _shared(spoken, len({author for author, _ in messages}), min_authors)
    weights = {
        word: _weight(word, shared, background)
        for word, said in shared.words.items()
        if said >= min_authors and says_something(word, background)
    }
    found: dict[_Run, float] = {}
    for run in sorted({run for _, run in spoken}):
        for piece, begins in _pieces(run, shared):
            for words in _windows(piece, shared, weights, begins=begins):
                if words not in found:
                    found[words] = _score(words, shared, weights)
    chosen = _distinct(sorted(found.items(), key=lambda item: (-item[1], item[0])), limit)
    forms = _forms(messages, {word for words, _ in chosen for word in words})
    return [
        Phrase(joined([forms.get(word, word) for word in words]), min(_edges(words, shared)), score)
        for words, score in chosen
    ]


def _shared(spoken: Iterable[tuple[str, _Run]], people: int, least: int) -> _Shared:
    words: defaultdict[str, set[str]] = defaultdict(set)
    pairs: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    starts: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    before: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for author, run in spoken:
        for word in run:
            words[word].add(author)
        for pair in pairwise((_EDGE, *run, _EDGE)):
            pairs[pair].add(author)
        if len(run) > 1:
            starts[run[0], run[1]].add(author)
        for at in (at for at, word in enumerate(run) if word in NEGATIONS):
            for pair in pairwise(run[at + 1 : at + 2 + DENIAL_REACH]):
                before[pair].add(author)
    after: Counter[str] = Counter()
    for (left, right), said in pairs.items():
        if right in NEGATIONS:
            after[left] += len(said)
    return _Shared(people, _counted(words), _counted(pairs), _counted(starts), _counted(before), after, least)


def _counted(said: Mapping[_Key, set[str]]) -> Counter[_Key]:
    return Counter({key: len(authors) for key, authors in said.items()})


def _weight(word: str, shared: _Shared, background: Vocabulary) -> float:
    """Share of the people who use the word, times how much rarer it is in the space than here."""
    here = shared.words[word] / shared.people
    there = (background.count(word) + 1) / (background.documents + 2)
    return here * math.log1p(here / there)


def _pieces(run: _Run, shared: _Shared) -> Iterator[tuple[_Run, bool]]:
    """Cut a run where too few people put two words beside one another; True with the piece that begins it."""
    start = 0
    for at, word in enumerate(run):
        if shared.words[word] < shared.least:
            yield run[start:at], start == 0
            start = at + 1
        elif at > start and shared.pairs[run[at - 1], word] < shared.least:
            yield run[start:at], start == 0
            start = at
    yield run[start:], start == 0


def _windows(piece: _Run, shared: _Shared, weights: Mapping[str, float], *, begins: bool) -> Iterator[_Run]:
    """Give the parts of a piece that may be a headline."""
    for start, first in enumerate(piece[:-1]):
        # "I charged a fee" is what a cut makes of "why am I charged a fee"
        if first not in weights and first not in NEGATIONS and first not in _POSSESSIVES:
            if start or not begins or shared.starts[piece[0], piece[1]] < shared.least:
                continue
        longest = MAX_LETTERS if unspaced(first) else MAX_WORDS
        for end in range(start + 2, min(start + longest, len(piece)) + 1):
            last = piece[end - 1]
            if last not in weights and last not in _PARTICLES:
                continue
            if 3 * shared.denied_after[last] >= shared.words[last]:
                continue
            window = _without_lead(piece[start:end])
            if 3 * shared.denied_before[window[0], window[1]] < shared.pairs[
                window[0], window[1]
            ] and not weights.keys().isdisjoint(window):
                yield window


def _without_lead(words: _Run) -> _Run:
    if words[0] not in _LEADS:
        return words
    text = " ".join(words)
    found = _LEAD.match(text + " ")
    rest = tuple(text[found.end() :].split()) if found else words
    return rest if len(rest) > 1 else words


def _edges(words: _Run, shared: _Shared) -> list[int]:
    return [shared.pairs[pair] for pair in pairwise(words)]


def _score(words: _Run, shared: _Shared, weights: Mapping[str, float]) -> float:
    """Coverage times distinctiveness of the content words, more for a natural beginning and end."""
    content = {stem(word): weights[word] for word in words if word in weights}
    said = sum(content.values())
    begins = shared.starts[words[0], words[1]] / shared.pairs[words[0], words[1]]
    ends = shared.pairs[words[-1], _EDGE] / shared.words[words[-1]]
    held = sum(math.log(edge / shared.people) for edge in _edges(words, shared)) / (len(words) - 1)
    return said * (1 + 0.5 * begins + 0.5 * ends) * math.exp(0.25 * held)


def _distinct(ranked: Iterable[tuple[_Run, float]], limit: int) -> list[tuple[_Run, float]]:
    kept: list[tuple[_Run, float]] = []
    seen: set[frozenset[str]] = set()
    for words, score in ranked:
        key = frozenset(map(stem, words))
        if key in seen or len(joined(words)) > MAX_CHARS:
            continue
        seen.add(key)
        kept.append((words, score))
        if len(kept) == limit:
            break
    return kept


def _forms(messages: Sequence[tuple[str, str]], wanted: set[str]) -> dict[str, str]:
    """How most people write each wanted word within a sentence: "PIN", "iOS", "I"."""
    seen: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for _, text in messages:
        if text.isupper():
            continue
        shouted = False
        for form in islice(_FORMS.findall(text.replace("\u2019", "'")), 1, 200):
            loud = form.isupper() and len(form) > 1
            if form.lower() in wanted and not (loud and shouted):
                seen[form.lower()][form] += 1
            shouted = loud
    forms = {word: max(counts.items(), key=lambda pair: (pair[1], pair[0]))[0] for word, counts in seen.items()}
    return forms | {word: word[0].upper() + word[1:] for word in wanted if word == "i" or word.startswith("i'")}
