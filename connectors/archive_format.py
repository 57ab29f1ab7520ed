"""The archive's lines and what they mean: one JSON object a line, `{"id": …, "text": …}` and more if known.

| type | fields beside "type", "source" and "time" |
|---|---|
| message (default) | id, text; author or user, channel, reply_to, permalink, version, label |
| edit | id, text |
| delete | id |
| reaction | id, author, emoji, present (default true) |
| score | id, score |
| erase_author | author |

`source` is the platform, "archive" when absent. `time` is ISO-8601 (without a zone: UTC) or a number of
seconds since 1970. Lines without a time keep the file's order: from 2000-01-02 on each a second after the one
before, or, after a line with a time, that time and a microsecond a line. A message without an author is the
only one of its author. `label` is never looked at: it is a test's answer, not input.

Everything here is pure: no file, no clock.
"""

import hashlib
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from connectors.archive_fields import identifier, needed, parse_time, shown, text_of, votes
from pipeline.errors import SkippableError
from pipeline.records import Event, EventType, MessageData, check_time

DEFAULT_SOURCE: Final = "archive"
NO_CHANNEL: Final = "-"
UNTIMED_FROM: Final = datetime(2000, 1, 2, tzinfo=UTC)
"""The earliest whole day that `records.check_time` lets through in every time zone."""

TYPES: Final = {
    "message": EventType.CREATED,
    "edit": EventType.EDITED,
    "delete": EventType.DELETED,
    "reaction": EventType.REACTION_SET,
    "score": EventType.SCORE_SNAPSHOT,
    "erase_author": EventType.AUTHOR_ERASED,
}
KNOWN_FIELDS: Final = frozenset(
    "type source time id text author user channel reply_to permalink version label".split()
    + "emoji present score".split()
)
_EVENT_ID_MAX: Final = 512
_NOTES_MAX: Final = 50
_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


class _Seen(NamedTuple):
    """What is remembered of a message: enough to know a repeat, and where its edits belong."""

    line: int
    digest: bytes
    channel: str | None


class Translation:
    """Turns the lines of one archive, in order, into events.

    It remembers some 400 bytes a message: the channel, which edits and deletions do not repeat, and a digest,
    to tell a repeat from a second message under the same id.
    """

    def __init__(self, space: str) -> None:
        self._space = space
        self._seen: dict[tuple[str, str], _Seen] = {}
        self._anchor = UNTIMED_FROM
        self._anchor_line = 0
        self._step = timedelta(seconds=1)
        self._notes: dict[str, str] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out or repaired, once each with the first line it was seen in."""
        return tuple(self._notes.values())

    @property
    def timed(self) -> bool:
        """Whether a line so far had a time."""
        return self._anchor_line > 0

    def to_event(self, raw: bytes, line: int, now: datetime) -> Event:
        """Return what line number `line` (from 1) says.

        Raises
        ------
        SkippableError
            When it says nothing that can be kept; the message is "what is wrong: what to do".
        """
        fields = self._object(raw, line)
        kind = fields.get("type", "message")
        if not isinstance(kind, str) or kind not in TYPES:
            raise SkippableError(f"unknown type: {shown(kind)} is none of {', '.join(TYPES)}")
        for name in (name for name in fields if name not in KNOWN_FIELDS):
            self._note(f"unknown {name}", line, f"unknown field {shown(name)} is not read")
        time = self._time(fields, line, now)
        try:
            return self._event(TYPES[kind], fields, time, line)
        except ValidationError as exc:
            problem = exc.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in problem["loc"])
            raise SkippableError(f"field out of bounds: {where}: {problem['msg']}; mend it") from exc

    def _object(self, raw: bytes, line: int) -> dict[str, Any]:
        try:
            decoded = raw.decode("utf-8")
        except UnicodeDecodeError as exc:
            raise SkippableError(f"not UTF-8: byte {exc.start + 1} of the line; convert the file") from exc
        try:
            # Not strict: a raw tab or NUL inside a text is no reason to lose what somebody wrote.
            fields = json.loads(decoded, strict=False)
        except (ValueError, RecursionError) as exc:
            raise SkippableError(f"broken JSON: {exc}; each line is one whole JSON object") from exc
        if not isinstance(fields, dict):
            raise SkippableError(f"not an object: {shown(fields)}; each line is one JSON object")
        return {name: self._clean(name, value, line) for name, value in fields.items()}

    def _clean(self, name: str, value: object, line: int) -> object:
        if not isinstance(value, str) or name not in KNOWN_FIELDS:
            return value
        if "\x00" in value:
            self._note(f"nul {name}", line, f"NUL characters are taken out of {name}")
            value = value.replace("\x00", "")
        # isascii is a flag of the string: nearly every line ends here, without the search.
        if not value.isascii() and _LONE_SURROGATE.search(value):
            self._note(f"surrogate {name}", line, f"halves of surrogate pairs in {name} became U+FFFD")
            value = _LONE_SURROGATE.sub("\ufffd", value)
        return value

    def _time(self, fields: dict[str, Any], line: int, now: datetime) -> datetime:
        given = fields.get("time")
        if given is None:
            return self._anchor + (line - self._anchor_line) * self._step
        time = parse_time(given)
        try:
            check_time(time, now)
        except SkippableError as exc:
            raise SkippableError(f"impossible time: {exc}; mend or remove it") from exc
        self._anchor, self._anchor_line, self._step = time, line, timedelta(microseconds=1)
        return time

    def _event(self, kind: EventType, fields: dict[str, Any], time: datetime, line: int) -> Event:
        source = identifier(fields, "source") or DEFAULT_SOURCE
        author = identifier(fields, "author") or identifier(fields, "user")
        if kind is EventType.AUTHOR_ERASED:
            data = MessageData(platform=source, author=needed(author, "author"))
            return self._wrap(kind, data, time, NO_CHANNEL, "erased", data.author, _stamp(time))
        message_id = needed(identifier(fields, "id"), "id")
        if kind is EventType.CREATED:
            data = self._message(fields, source, message_id, author, line)
            return self._wrap(kind, data, time, data.channel, message_id, "created")
        seen = self._seen.get((source, message_id))
        channel = seen.channel if seen else self._optional(fields, "channel", 255, line)
        data = MessageData(platform=source, message_id=message_id, channel=channel)
        match kind:
            case EventType.EDITED:
                text = text_of(fields)
                # Two edits within one second of the source's clock are two happenings.
                tail = ["edited", _stamp(time), hashlib.sha256(text.encode()).hexdigest()[:8]]
                data = data.model_copy(update={"text": text})
            case EventType.DELETED:
                tail = ["deleted", _stamp(time)]
            case EventType.SCORE_SNAPSHOT:
                score = votes(fields)
                tail = ["score", _stamp(time), str(score)]
                data = data.model_copy(update={"score": score})
            case _:
                return self._reaction(fields, data, needed(author, "author"), time)
        return self._wrap(kind, data, time, channel, message_id, *tail)

    def _message(
        self, fields: dict[str, Any], source: str, message_id: str, author: str | None, line: int
    ) -> MessageData:
        data = MessageData(
            platform=source,
            message_id=message_id,
            text=text_of(fields),
            author=author or _own_author(source, message_id),
            channel=self._optional(fields, "channel", 255, line),
            reply_to=self._optional(fields, "reply_to", 255, line),
            permalink=self._optional(fields, "permalink", 2_000, line),
            version=self._optional(fields, "version", 64, line),
        )
        # Only a time that was given belongs to the content: a repeat further down would have another.
        content = (
            fields.get("time"),
            data.text,
            author,
            data.channel,
            data.reply_to,
            data.permalink,
            data.version,
        )
        digest = hashlib.blake2b(repr(content).encode(), digest_size=8).digest()
        first = self._seen.setdefault((source, message_id), _Seen(line, digest, data.channel))
        if first.digest != digest:
            raise SkippableError(
                f"id used twice: line {first.line} has other content under {shown(message_id)}; "
                "give it an id of its own, or type edit"
            )
        return data

    def _reaction(self, fields: dict[str, Any], data: MessageData, author: str, time: datetime) -> Event:
        emoji = needed(identifier(fields, "emoji"), "emoji")
        present = fields.get("present", True)
        if not isinstance(present, bool):
            raise SkippableError(f"unusable present: {shown(present)} is neither true nor false")
        data = MessageData(**data.model_dump() | {"author": author, "emoji": emoji, "present": present})
        tail = (data.message_id, "reaction", author, emoji, str(present).lower(), _stamp(time))
        return self._wrap(EventType.REACTION_SET, data, time, data.channel, *tail)

    def _wrap(
        self, kind: EventType, data: MessageData, time: datetime, channel: str | None, *tail: str | None
    ) -> Event:
        return Event(
            id=event_id(data.platform, *tail),
            source=f"archive:{data.platform}",
            type=kind,
            time=time,
            space=self._space,
            container=f"{data.platform}/{channel or NO_CHANNEL}",
            origin="backfill",
            data=data,
        )

    def _optional(self, fields: dict[str, Any], name: str, limit: int, line: int) -> str | None:
        """Return a field that a message can do without; what cannot be used is left out and noted."""
        value = fields.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = str(value)
        if value is None or value == "":
            return None
        if not isinstance(value, str) or len(value) > limit or _CONTROL.search(value):
            self._note(f"optional {name}", line, f"{name} left out: not one line of at most {limit} characters")
            return None
        return value

    def _note(self, about: str, line: int, what: str) -> None:
        if about in self._notes:
            return
        if len(self._notes) < _NOTES_MAX:
            self._notes[about] = f"line {line}: {what}"
        elif len(self._notes) == _NOTES_MAX:
            self._notes["more"] = f"line {line}: further things of this kind are not listed"


def event_id(*parts: str | None) -> str:
    """Return "archive:" and the parts with colons between them; each tuple of parts has an id of its own."""
    escaped = [(part or "").replace("%", "%25").replace(":", "%3A") for part in parts]
    whole = ":".join(["archive", *escaped])
    if len(whole) <= _EVENT_ID_MAX:
        return whole
    return "archive:sha256:" + hashlib.sha256(whole.encode()).hexdigest()


def _own_author(source: str, message_id: str) -> str:
    return "anonymous-" + hashlib.sha256(f"{source}/{message_id}".encode()).hexdigest()[:16]


def _stamp(time: datetime) -> str:
    """Return a time for ids, without the colons that stand between their parts."""
    return f"{time:%Y%m%dT%H%M%S.%f}Z"
