"""The door of the cluster stage: a decoded signal or command, as the owner takes it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from models import forms
from models import text as texts
from pipeline.entries import AuthorErased, Body, Commanded, Deleted, Features, Posted, Reacted
from pipeline.errors import SkippableError
from pipeline.records import Command, Event, EventType, Kinds, MessageRef, Origin, Signal
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


def features_of(text: str, kinds: Kinds, language: str | None, languages: frozenset[str]) -> Features:
    """Return what the fold knows of a text, given what the models read in it."""
    return Features(
        kinds=kinds.probabilities(),
        kind=kinds.kind,
        words=len(texts.content_words(text)),
        echo=texts.is_echo(text),
        fingerprint=texts.fingerprint(text),
        language=language if language is not None and language not in languages else None,
        form=forms.form_of(text),
        clear=forms.clear_in_few_words(text),
        leans=forms.leans_on_parent(text),
    )


def _posted(signal: Signal, languages: frozenset[str]) -> tuple[Posted, MessageDetails]:
    event, data = signal.event, signal.event.data
    if signal.kinds is None or data.text is None or signal.vector is None:
        raise SkippableError(f"{event.type} without kinds or vector: written by another release of the embed stage?")
    try:
        vector = signal.unit_vector()
    except ValueError as exc:
        raise SkippableError(f"{event.type} whose vector cannot be read: {exc}") from exc
    text = data.text.replace("\x00", "")
    posted = Posted(
        ref=event.ref,
        author=data.author,
        revision=event.time,
        features=features_of(text, signal.kinds, signal.language, languages),
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
        recipe=signal.kinds.recipe,
    )
    return posted, details
