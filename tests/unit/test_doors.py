"""The door of the cluster stage: what a signal becomes for the fold."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.doors import arrival_of
from pipeline.entries import AuthorErased, Commanded, Deleted, Posted, Reacted
from pipeline.errors import SkippableError
from pipeline.records import (
    Command,
    CommandName,
    Event,
    EventType,
    MessageData,
    MessageRef,
    Origin,
    Signal,
    pack_vector,
)
from tests.standins.space_stream import T0
from tests.unit.test_records import KINDS

EN = frozenset({"en"})
VECTOR = pack_vector(np.array([0.6, 0.8]))
ORIGIN = Origin(cluster="k", partition=1, offset=7)


def signal(kind: EventType, data: MessageData, **reading: object) -> Signal:
    event = Event(id="e", source="s", type=kind, time=T0, space="quillstone", container="c", data=data)
    return Signal.model_validate({"event": event, "origin": ORIGIN, **reading})


SAID = MessageData(
    platform="discord", message_id="m1", text="Same here!\x00", author="ann", reply_to="m0", version="4.2"
)


def test_a_message_becomes_features_and_details() -> None:
    read = signal(EventType.EDITED, SAID, kinds=KINDS, language="en", vector=VECTOR, model="mini")
    arrival = arrival_of(read, EN)
    assert (arrival.space, arrival.type, arrival.at, arrival.origin) == ("quillstone", "message.edited", T0, ORIGIN)
    body = arrival.body
    assert isinstance(body, Posted)
    assert (body.ref, body.reply_to) == (MessageRef("discord", "m1"), MessageRef("discord", "m0"))
    assert (body.author, body.revision, body.edited) == ("ann", T0, True)
    assert (body.features.kinds, body.features.echo, body.features.words) == ((0.1, 0.2, 0.3, 0.15, 0.25), True, 0)
    assert body.features.language is None
    np.testing.assert_allclose(body.vector, [0.6, 0.8], atol=1e-3)
    assert arrival.details is not None
    assert (arrival.details.text, arrival.details.release, arrival.details.model) == ("Same here!", "4.2", "mini")


@pytest.mark.parametrize(("language", "foreign"), [("en", None), (None, None), ("ru", "ru")])
def test_only_a_language_that_the_model_does_not_serve_is_named(language: str | None, foreign: str | None) -> None:
    body = arrival_of(signal(EventType.CREATED, SAID, kinds=KINDS, language=language, vector=VECTOR), EN).body
    assert isinstance(body, Posted)
    assert body.features.language == foreign


BARE = MessageData(platform="discord", message_id="m1", author="ann", emoji="+1", present=True, score=3)
REF = MessageRef("discord", "m1")


@pytest.mark.parametrize(
    ("kind", "body", "name"),
    [
        (EventType.DELETED, Deleted(REF), "message.deleted"),
        (EventType.REACTION_SET, Reacted(REF), "reaction.set"),
        (EventType.SCORE_SNAPSHOT, Reacted(REF), "score.snapshot"),
        (EventType.AUTHOR_ERASED, AuthorErased("discord", "ann"), "author.erased"),
        (EventType.GAP_DETECTED, None, "gap.detected"),
    ],
)
def test_other_events(kind: EventType, body: object, name: str) -> None:
    arrival = arrival_of(signal(kind, BARE), EN)
    assert (arrival.body, arrival.type) == (body, name)


def test_a_command() -> None:
    command = Command(id="c", space="s", name=CommandName.MUTE, cluster_id="x", by="kim", time=T0)
    arrival = arrival_of(command, EN)
    assert arrival.body == Commanded("c", CommandName.MUTE, "x", "kim")
    assert arrival.origin is None


@pytest.mark.parametrize(
    "vector",
    [None, "", "!!!!", "AAA", "AAAA", pack_vector(np.array([np.nan, 1.0])), pack_vector(np.array([np.inf, 1.0]))],
    ids=["none", "empty", "no base64", "cut", "half a number", "NaN", "infinity"],
)
def test_a_vector_that_cannot_be_read_is_refused(vector: str | None) -> None:
    with pytest.raises(SkippableError, match="vector"):
        arrival_of(signal(EventType.CREATED, SAID, kinds=KINDS, vector=vector), EN)
