"""What travels on the topics: events, signals and commands, and how they become bytes.

One frozen record per topic. Values are raw bytes on the wire and are decoded at the door of each stage, so that
a bad record is our own `SkippableError` with a reason, and never a line in a framework's log.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from pipeline.errors import SkippableError

TEXT_MAX_CHARS: Final = 40_000
"""Reddit's own limit for a post, the largest of the platforms; a longer text is refused, not cut."""
ID_MAX_CHARS: Final = 255
EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""No community platform is older: an earlier time is a unit mistake (seconds read as milliseconds, 0 for null)."""
FUTURE_TOLERANCE_S: Final = 15 * 60
"""Clocks of platforms and of this machine differ by less."""

Identifier = Annotated[str, StringConstraints(min_length=1, max_length=ID_MAX_CHARS, pattern=r"^[^\x00-\x1f\x7f]+$")]
Text = Annotated[str, StringConstraints(max_length=TEXT_MAX_CHARS)]
_NO_NUL: Final = r"^[^\x00]*$"
"""PostgreSQL stores no NUL."""


class MessageRef(NamedTuple):
    """Names one message of a space: `message_id` is unique within `platform`."""

    platform: str
    message_id: str

    def __str__(self) -> str:
        return f"{self.platform}/{self.message_id}"


class EventType(StrEnum):
    """The `type` of an event, in CloudEvents' sense."""

    CREATED = "community.message.created.v1"
    EDITED = "community.message.edited.v1"
    DELETED = "community.message.deleted.v1"
    REACTION_SET = "community.reaction.set.v1"
    POLL_VOTE_SET = "community.poll.vote.set.v1"
    SCORE_SNAPSHOT = "community.score.snapshot.v1"
    AUTHOR_ERASED = "community.author.erased.v1"
    GAP_DETECTED = "community.gap.detected.v1"
    COMMAND = "groundswell.command.v1"


class _Frozen(BaseModel):
    # JSON has no NaN and no infinity; PostgreSQL refuses a column of JSON that holds one.
    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_timedelta="float", allow_inf_nan=False)


class MessageData(_Frozen):
    """What an event says about a message. States, not deltas: repeating an event changes nothing.

    Which fields are set depends on the event's type; `decode_event` checks that the needed ones are.
    """

    platform: Identifier
    message_id: Identifier | None = None
    text: Text | None = None
    author: Identifier | None = None
    """Stable name of the author within the platform; a keyed hash where the connector makes one."""
    channel: Identifier | None = None
    reply_to: Identifier | None = None
    permalink: Annotated[str, StringConstraints(max_length=2_000, pattern=_NO_NUL)] | None = None
    version: Annotated[str, StringConstraints(max_length=64, pattern=_NO_NUL)] | None = None
    """The product's release the author used, where the platform or the poster says so."""
    emoji: Annotated[str, StringConstraints(max_length=128, pattern=_NO_NUL)] | None = None
    present: bool | None = None
    score: Annotated[int, Field(ge=-(2**53), le=2**53)] | None = None
    option: Annotated[str, StringConstraints(max_length=250, pattern=_NO_NUL)] | None = None
    reason: Annotated[str, StringConstraints(max_length=2_000)] | None = None


_REQUIRED: Final[dict[EventType, tuple[str, ...]]] = {
    EventType.CREATED: ("message_id", "text", "author"),
    EventType.EDITED: ("message_id", "text"),
    EventType.DELETED: ("message_id",),
    EventType.REACTION_SET: ("message_id", "author", "emoji", "present"),
    EventType.POLL_VOTE_SET: ("message_id", "author", "option", "present"),
    EventType.SCORE_SNAPSHOT: ("message_id", "score"),
    EventType.AUTHOR_ERASED: ("author",),
    EventType.GAP_DETECTED: ("reason",),
}


class Event(_Frozen):
    """One record of `community.events`: CloudEvents 1.0 in structured mode, `space` and `container` as extensions.

    `id` is deterministic (same happening, same id); `time` is the platform's clock; `container` is the record key.
    """

    specversion: Literal["1.0"] = "1.0"
    id: Annotated[str, StringConstraints(min_length=1, max_length=512)]
    source: Annotated[str, StringConstraints(min_length=1, max_length=512)]
    type: EventType
    time: AwareDatetime
    space: Identifier
    container: Identifier
    origin: Literal["live", "backfill", "reconcile"] = "live"
    data: MessageData

    @field_validator("time")
    @classmethod
    def _utc(cls, value: datetime) -> datetime:
        try:
            return value.astimezone(UTC)
        except OverflowError as exc:
            raise ValueError("lies outside the calendar") from exc

    @property
    def ref(self) -> MessageRef:
        """The message this event is about; ValueError for events about an author or a container."""
        if self.data.message_id is None:
            raise ValueError(f"{self.type} names no message")
        return MessageRef(self.data.platform, self.data.message_id)


class CommandName(StrEnum):
    """What a person can decide about a cluster."""

    TAG = "tag"
    PROMOTE = "promote"
    MUTE = "mute"
    RENAME = "rename"
    NOT_FEEDBACK = "not-feedback"
    MERGE = "merge"
    SPLIT = "split"
    SEPARATE = "separate"
    UNDO = "undo"


COMMAND_MESSAGES_MAX: Final = 4_000
"""Messages that one command can name; a `split` of more would not fit a record of `community.signals`."""


class Command(_Frozen):
    """A person's decision: who, when, about which cluster. Travels on `community.signals` among the messages."""

    id: Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=_NO_NUL)]
    type: Literal[EventType.COMMAND] = EventType.COMMAND
    space: Identifier
    name: CommandName
    cluster_id: Identifier
    by: Identifier
    time: AwareDatetime
    value: Annotated[str, StringConstraints(max_length=200, pattern=_NO_NUL)] | None = None
    """The tag's name, the cluster's new name, or the id of the command that `undo` takes back."""
    other: Identifier | None = None
    """The second cluster of `merge` (it ends in the first) and of `separate`."""
    messages: Annotated[tuple[MessageRef, ...], Field(max_length=COMMAND_MESSAGES_MAX)] = ()
    """What `split` puts into a cluster of its own."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.name in {CommandName.MERGE, CommandName.SEPARATE} and self.other is None:
            raise ValueError(f"{self.name} without a second cluster in `other`")
        if self.name is CommandName.SPLIT and not self.messages:
            raise ValueError("split without messages")
        if any("\x00" in part or len(part) > ID_MAX_CHARS for ref in self.messages for part in ref):
            raise ValueError("messages holds what names no message")
        if self.name is CommandName.RENAME and not (self.value or "").strip():
            raise ValueError("rename without a name in `value`")
        return self


class Kinds(_Frozen):
    """What the kind classifier said of one message: probabilities sum to 1."""

    complaint: float
    idea: float
    question: float
    praise: float
    other: float
    kind: Annotated[str, StringConstraints(max_length=16, pattern=_NO_NUL)]
    """The acting decision: one of the five, or "unsure"."""
    cues: tuple[Annotated[str, StringConstraints(pattern=_NO_NUL)], ...] = ()
    recipe: Annotated[str, StringConstraints(max_length=64, pattern=_NO_NUL)] | None = None
    """Which classifier said so; one that learned from corrections ends with +c and their number."""

    @classmethod
    def of(cls, probabilities: Iterable[float], kind: str, cues: Iterable[str], recipe: str | None) -> Self:
        """Return kinds from five probabilities in the order of `models.kinds.KINDS`."""
        complaint, idea, question, praise, other = probabilities
        return cls(
            complaint=complaint,
            idea=idea,
            question=question,
            praise=praise,
            other=other,
            kind=kind,
            cues=tuple(cues),
            recipe=recipe,
        )

    def probabilities(self) -> tuple[float, float, float, float, float]:
        """Return the five probabilities in the order of `models.kinds.KINDS`."""
        return (self.complaint, self.idea, self.question, self.praise, self.other)


class Origin(_Frozen):
    """Where in `community.events` a signal came from; accounting needs it, the fold does not."""

    cluster: Annotated[str, StringConstraints(max_length=64, pattern=_NO_NUL)] = ""
    partition: Annotated[int, Field(ge=0, lt=2**31)]
    offset: Annotated[int, Field(ge=0, lt=2**63)]


class Signal(_Frozen):
    """One record of `community.signals`: an event, with kind, language and vector where it carries text."""

    event: Event
    origin: Origin
    kinds: Kinds | None = None
    language: Annotated[str, StringConstraints(max_length=16, pattern=_NO_NUL)] | None = None
    model: Annotated[str, StringConstraints(max_length=255, pattern=_NO_NUL)] | None = None
    vector: str | None = None
    """Unit vector as base64 of little-endian float16, cast once in the embed stage and never again."""

    def unit_vector(self) -> npt.NDArray[np.float32]:
        """Return the vector (d,) float32; ValueError when the signal carries none, or one that is broken."""
        if self.vector is None:
            raise ValueError("signal without a vector")
        vector = np.frombuffer(base64.b64decode(self.vector, validate=True), dtype="<f2").astype(np.float32)
        if not len(vector) or not np.isfinite(vector).all():
            raise ValueError("vector is empty or holds NaN or infinity")
        return vector


def pack_vector(vector: npt.NDArray[np.floating[Any]]) -> str:
    """Return `vector` (d,) as base64 of little-endian float16: half the bytes, 1e-3 of cosine."""
    return base64.b64encode(vector.astype("<f2").tobytes()).decode("ascii")


def encode(record: Event | Signal | Command) -> bytes:
    """Return the JSON bytes of a record, without the fields that are not set."""
    return record.model_dump_json(exclude_none=True).encode()


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    return f"{where or 'value'}: {problem['msg']}"


def decode_event(value: bytes, now: datetime) -> Event:
    """Parse one `community.events` value.

    Raises
    ------
    SkippableError
        When it is not JSON, not an event, lacks what its type needs, has an empty text, or a time before 2000 or
        later than `now` by more than a quarter of an hour.
    """
    try:
        event = Event.model_validate_json(value)
    except ValidationError as exc:
        raise SkippableError(f"not an event: {_first_problem(exc)}") from exc
    _check_complete(event)
    check_text(event.data.text)
    check_time(event.time, now)
    return event


def _check_complete(event: Event) -> None:
    if event.type not in _REQUIRED:
        raise SkippableError(f"not an event of a platform: {event.type}")
    for name in _REQUIRED[event.type]:
        if getattr(event.data, name) is None:
            raise SkippableError(f"{event.type} without data.{name}")


def check_text(text: str | None) -> None:
    """Raise SkippableError for a text that holds nothing to read."""
    if text is not None and not text.replace("\x00", "").strip():
        raise SkippableError("empty text")


def check_time(time: datetime, now: datetime) -> None:
    """Raise SkippableError for a time that no platform can have given."""
    if time < EARLIEST:
        raise SkippableError(f"time {time.isoformat()} lies before {EARLIEST.year}: seconds and milliseconds mixed up?")
    if (time - now).total_seconds() > FUTURE_TOLERANCE_S:
        raise SkippableError(f"time {time.isoformat()} lies in the future")


def decode_signal(value: bytes) -> Signal | Command:
    """Parse one `community.signals` value; SkippableError when it is neither a signal nor a command."""
    try:
        if value.startswith(b'{"event"'):
            signal = Signal.model_validate_json(value)
            _check_complete(signal.event)
            return signal
        return Command.model_validate_json(value)
    except ValidationError as exc:
        raise SkippableError(f"neither a signal nor a command: {_first_problem(exc)}") from exc
