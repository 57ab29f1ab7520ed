"""Drafts: a cluster's evidence from the database, turned into what its ticket is to say."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from models.headlines import headlines
from models.keyphrases import Phrase, Vocabulary, key_phrases, summary
from pipeline.decide import ClusterFacts, Decision
from pipeline.issue_text import draft
from pipeline.store import ledger
from pipeline.store.backlog import likely_key
from pipeline.store.database import Database
from pipeline.store.facts import Said, background, evidence, release_after, typical
from pipeline.trackers.port import IssueDraft

QUOTES: Final = 3
BACKGROUND_MESSAGES: Final = 3_000
BACKGROUND_ENTRIES: Final = 500
"""Journal entries for which a space's everyday vocabulary stays good enough; a dry run knows no clock."""


class Drafts:
    """Writes drafts; remembers each space's everyday vocabulary for a while."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._vocabularies: dict[str, tuple[Vocabulary, int]] = {}

    async def draft(
        self, space: str, cluster_id: str, facts: ClusterFacts, decision: Decision
    ) -> tuple[IssueDraft, list[Said]]:
        """Return the draft and the messages to quote beside it."""
        async with self._database.read() as connection:
            said = await evidence(connection, space, cluster_id)
            taken = await ledger.summaries(connection, space, but=cluster_id)
            alike = await likely_key(connection, space, cluster_id)
        vocabulary = await self._vocabulary(space)
        messages = [(item.author, item.text) for item in said]
        phrases, line = await asyncio.to_thread(_summarize, messages, vocabulary, taken)
        line = facts.name or line
        words = [phrase.text for phrase in phrases]
        issue = draft(space, cluster_id, facts, decision, line, words, release_after(said), alike)
        return issue, typical(said, QUOTES)

    async def quotes(self, space: str, cluster_id: str) -> list[Said]:
        """Return the messages to quote now."""
        async with self._database.read() as connection:
            said = await evidence(connection, space, cluster_id)
        return typical(said, QUOTES)

    async def _vocabulary(self, space: str) -> Vocabulary:
        known = self._vocabularies.get(space)
        async with self._database.read() as connection:
            seq = await ledger.space_seq(connection, space)
            if known is not None and seq - known[1] < BACKGROUND_ENTRIES:
                return known[0]
            texts = await background(connection, space, BACKGROUND_MESSAGES)
        vocabulary = await asyncio.to_thread(_count_words, texts)
        self._vocabularies[space] = (vocabulary, seq)
        return vocabulary


def _summarize(
    messages: Sequence[tuple[str, str]], vocabulary: Vocabulary, taken: Sequence[str]
) -> tuple[list[Phrase], str]:
    phrases = key_phrases(messages, vocabulary)
    return phrases, summary(phrases, taken, headlines(messages, vocabulary))


def _count_words(texts: Sequence[str]) -> Vocabulary:
    vocabulary = Vocabulary()
    for text in texts:
        vocabulary.add(text)
    return vocabulary
