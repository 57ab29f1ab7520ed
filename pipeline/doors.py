"""The door of the cluster stage: a decoded signal or command, as the owner takes it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from models import text as texts
from pipeline.entries import AuthorErased, Body, Commanded, Deleted, Features, Posted, Reacted
from pipeline.errors import SkippableError
from pipeline.records import Command, Event, EventType, MessageRef, Origin, Signal
from pipeline.store.spaces import MessageDetails


@dataclass(frozen=True, slots=True)
class Arrival:
    """One record of `community.signals`, ready for the fold."""

    space: str
    type: str
    """Event type without prefix and version, as the account names it; "command" for commands."""
    at: datetime
    body: Body | None
    """None when the event changes no cluster (a detected gap)."""
    origin: Origin | None
    details: MessageDetails | None = None
    record: Event | Command | None = None


def arrival_of(record: Signal | Command, languages: frozenset[str]) -> Arrival:
    """Return what the owner takes; SkippableError when the signal lacks what its event needs.

    Parameters
    ----------
    languages : frozenset of str
        ISO 639-1 codes that the model serves; a text in another one is set aside under its language.
    """
    if isinstance(record, Command):
        commanded = Commanded(
            record.id, record.name, record.cluster_id, record.by, record.value, record.other, record.messages
        )
        return Arrival(record.space, "command", record.time, commanded, None, record=record)
    event = record.event
    details = None
    body: Body | None
    match event.type:
        case EventType.CREATED | EventType.EDITED:
            body, details = _posted(record, languages)
        case EventType.DELETED:
            body = Deleted(event.ref)
        case EventType.REACTION_SET | EventType.POLL_VOTE_SET | EventType.SCORE_SNAPSHOT:
            body = Reacted(event.ref)
        case EventType.AUTHOR_ERASED:
            body = AuthorErased(event.data.platform, event.data.author or "")
        case _:
            body = None
    short = event.type.removeprefix("community.").removesuffix(".v1")
    return Arrival(event.space, short, event.time, body, record.origin, details, event)


def _posted(signal: Signal, languages: frozenset[str]) -> tuple[Posted, MessageDetails]:
    event, data = signal.event, signal.event.data
    if signal.kinds is None or data.text is None or signal.vector is None:
        raise SkippableError(f"{event.type} without kinds or vector: written by another release of the embed stage?")
    try:
        vector = signal.unit_vector()
    except ValueError as exc:
        raise SkippableError(f"{event.type} whose vector cannot be read: {exc}") from exc
    text = data.text.replace("\x00", "")
    foreign = signal.language if signal.language is not None and signal.language not in languages else None
    posted = Posted(
        ref=event.ref,
        author=data.author,
        revision=event.time,
        features=Features(
            kinds=signal.kinds.probabilities(),
            kind=signal.kinds.kind,
            words=len(texts.content_words(text)),
            echo=texts.is_echo(text),
            fingerprint=texts.fingerprint(text),
            language=foreign,
        ),
        vector=vector,
        reply_to=MessageRef(data.platform, data.reply_to) if data.reply_to is not None else None,
        edited=event.type is EventType.EDITED,
    )
    details = MessageDetails(
        text=text,
        channel=data.channel,
        permalink=data.permalink,
        release=data.version,
        cues=signal.kinds.cues,
        model=signal.model or "",
    )
    return posted, details
