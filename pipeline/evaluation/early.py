"""How early: did a ticket or a watch come before the version that fixed the matter? Pure.

Two measures over the changelog of an app, one list of fixes (each some keywords) a version:

* ours: a fix is foreseen when a cluster about it had a ticket or watch before its version appeared; the lead is the
  time between. A cluster is about a fix when at least `ABOUT_SHARE` of its messages until then hold `ABOUT_WORDS` of
  the fix's keywords (all, when it has fewer).
* that of IDEA (Gao, Zeng, Lyu, King: Online App Review Analysis for Identifying Emerging Issues, ICSE 2018), sentence
  labels: precision, the mean over versions of the share of emerging topics whose label sentences hold a keyword of the
  changelog of that version or the next; recall, the mean over versions of the share of these fixes that the label
  sentences of any topic hold; F1 of the two. What differs: a topic is a cluster with `TOPIC_MESSAGES` messages of the
  version, it is emerging when its ticket or watch came while the version was the newest, and words match by their stem
  where IDEA has word vectors of its own with a cosine above .6, so less matches here.

How much of ours is chance is told by dealing the fixes to the versions anew: what "about" lets through by accident, and
what was said before any version, is foreseen then as well.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import fmean, median
from typing import Final

ABOUT_SHARE: Final = 0.2
ABOUT_WORDS: Final = 2
TOPIC_MESSAGES: Final = 10
LABEL_SENTENCES: Final = 3
VERSION_PEOPLE: Final = 3
"""Messages that must name a version before it counts as out; the data have no authors."""
LEAST_REVIEWS: Final = 51
"""Versions with fewer have no line in IDEA's changelogs."""
_WORD: Final = re.compile(r"[^\W\d_]+")
_ENDING: Final = re.compile(r"(?:ing|ed|es|s|e)$")

Fix = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the archive."""

    id: str
    text: str
    at: datetime
    version: str | None


@dataclass(frozen=True, slots=True)
class Sign:
    """A ticket or a watch."""

    cluster_id: str
    at: datetime
    what: str


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What became of one fix; `lead_days` is None when nothing came before its version."""

    version: str
    fix: str
    out_at: datetime
    lead_days: float | None
    what: str | None
    cluster_id: str | None


@dataclass(frozen=True, slots=True)
class Early:
    """Both measures."""

    fixes: tuple[Foreseen, ...]
    foreseen: int
    by_chance: float
    """Fixes foreseen on average when each is dealt to a version drawn like those of all fixes."""
    by_ticket: int
    """Fixes foreseen by a ticket, a watch or not."""
    tickets: int
    watches: int
    median_lead_days: float | None
    idea_precision: float | None
    idea_recall: float | None
    idea_f1: float | None


def stem(word: str) -> str:
    """Return a word without its commonest endings."""
    return _ENDING.sub("", word) if len(word) > 3 else word


def stems(text: str) -> frozenset[str]:
    """Return the stems of a text's words."""
    return frozenset(stem(word) for word in _WORD.findall(text.casefold()))


def measure(
    messages: Sequence[Message],
    assignments: Mapping[str, str | None],
    signs: Sequence[Sign],
    changelog: Mapping[str, Sequence[Fix]],
) -> Early:
    """Return how early the tickets and watches came.

    Parameters
    ----------
    messages : sequence of Message
        All of the archive.
    assignments : mapping
        Message id to cluster id; None or absent: in no cluster.
    signs : sequence of Sign
        Openings and watches.
    changelog : mapping
        Version to its fixes, in the order of the versions.
    """
    out_at = _out(messages)
    members: defaultdict[str, list[Message]] = defaultdict(list)
    for message in messages:
        cluster_id = assignments.get(message.id)
        if cluster_id is not None:
            members[cluster_id].append(message)
    words = {m.id: stems(m.text) for own in members.values() for m in own}
    fixes = tuple(
        _foreseen(version, fix, out_at[version], signs, members, words)
        for version, own in changelog.items()
        if version in out_at
        for fix in own
    )
    leads = [fix.lead_days for fix in fixes if fix.lead_days is not None]
    tickets = [sign for sign in signs if sign.what == "ticket"]

    def foreseen(version: str, fix: str, by: Sequence[Sign]) -> bool:
        return _foreseen(version, tuple(fix.split()), out_at[version], by, members, words).lead_days is not None

    drawn = Counter(one.version for one in fixes)
    by_chance = sum(
        count / len(fixes) * sum(foreseen(version, one.fix, signs) for one in fixes) for version, count in drawn.items()
    )
    precision, recall = _idea(list(changelog), changelog, out_at, members, words, signs)
    f1 = 2 * precision * recall / (precision + recall) if precision and recall else None
    return Early(
        fixes=fixes,
        foreseen=len(leads),
        by_chance=by_chance,
        by_ticket=sum(foreseen(one.version, one.fix, tickets) for one in fixes),
        tickets=len(tickets),
        watches=len(signs) - len(tickets),
        median_lead_days=median(leads) if leads else None,
        idea_precision=precision,
        idea_recall=recall,
        idea_f1=f1,
    )


def _out(messages: Sequence[Message]) -> dict[str, datetime]:
    """Return when each version appeared: when so many messages had named it that it was no slip."""
    named: defaultdict[str, list[datetime]] = defaultdict(list)
    for message in messages:
        if message.version:
            named[message.version].append(message.at)
    return {v: sorted(times)[VERSION_PEOPLE - 1] for v, times in named.items() if len(times) >= VERSION_PEOPLE}


def _foreseen(
    version: str,
    fix: Fix,
    out_at: datetime,
    signs: Sequence[Sign],
    members: Mapping[str, Sequence[Message]],
    words: Mapping[str, frozenset[str]],
) -> Foreseen:
    wanted = {stem(word) for word in fix}
    needed = min(ABOUT_WORDS, len(wanted))
    for sign in sorted(signs, key=lambda one: one.at):
        if sign.at >= out_at:
            break
        until = [m for m in members.get(sign.cluster_id, ()) if m.at < out_at]
        about = sum(len(wanted & words[m.id]) >= needed for m in until)
        if until and about >= ABOUT_SHARE * len(until):
            lead = (out_at - sign.at) / timedelta(days=1)
            return Foreseen(version, " ".join(fix), out_at, lead, sign.what, sign.cluster_id)
    return Foreseen(version, " ".join(fix), out_at, None, None, None)


def _idea(
    versions: Sequence[str],
    changelog: Mapping[str, Sequence[Fix]],
    out_at: Mapping[str, datetime],
    members: Mapping[str, Sequence[Message]],
    words: Mapping[str, frozenset[str]],
    signs: Sequence[Sign],
) -> tuple[float | None, float | None]:
    """Return IDEA's precision of emerging topics and recall of all topics, both of sentence labels."""
    precisions, recalls = [], []
    for index, version in enumerate(versions):
        following = versions[index + 1] if index + 1 < len(versions) else None
        fixes = [*changelog[version], *(changelog[following] if following and changelog[version] else ())]
        if not fixes or version not in out_at:
            continue
        keywords = [{stem(word) for word in fix} for fix in fixes]
        labels = {}
        for cluster_id, own in members.items():
            topic = [words[m.id] for m in own if m.version == version]
            if len(topic) >= TOPIC_MESSAGES:
                labels[cluster_id] = _label(topic)
        held: frozenset[str] = frozenset().union(*labels.values())
        recalls.append(sum(bool(fix & held) for fix in keywords) / len(keywords))
        end = out_at.get(following, datetime.max.replace(tzinfo=UTC)) if following else None
        emerging = {s.cluster_id for s in signs if s.at >= out_at[version] and (end is None or s.at < end)}
        hits = [any(fix & labels[cluster_id] for fix in keywords) for cluster_id in emerging & labels.keys()]
        if index and hits:
            precisions.append(sum(hits) / len(hits))
    return (fmean(precisions) if precisions else None), (fmean(recalls) if recalls else None)


def _label(topic: Sequence[frozenset[str]]) -> frozenset[str]:
    """Return the words of the sentences that say best what a topic's messages share; IDEA asks for five words each."""
    often = Counter(word for own in topic for word in own)
    long = [own for own in topic if len(own) >= 5] or list(topic)
    best = sorted(long, key=lambda own: (-sum(often[w] for w in own) / len(own), sorted(own)))
    return frozenset().union(*best[:LABEL_SENTENCES])


def aligned(messages: Sequence[Message], lines: Sequence[str]) -> dict[str, list[Fix]]:
    """Return the changelog by version: its last lines belong to the last versions with enough reviews.

    Raises
    ------
    ValueError
        When there are more such versions than lines.
    """
    counts = Counter(m.version for m in messages if m.version)
    versions = sorted((v for v, n in counts.items() if n >= LEAST_REVIEWS), key=_version_key)
    if len(versions) > len(lines):
        raise ValueError(
            f"{len(versions)} versions with {LEAST_REVIEWS} messages or more, {len(lines)} changelog lines"
        )
    own = lines[len(lines) - len(versions) :]
    return {
        version: [tuple(part.split()) for part in line.split(",") if part.strip()]
        for version, line in zip(versions, own, strict=True)
    }


def _version_key(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))
