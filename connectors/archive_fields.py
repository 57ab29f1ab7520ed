"""Single fields of an archive's line, checked.

Each reader raises SkippableError where a field cannot be used; its message is "what is wrong: what to do".
"""

from datetime import UTC, datetime
from typing import Any, Final

from pipeline.errors import SkippableError
from pipeline.records import TEXT_MAX_CHARS, check_text

_SCORE_MAX: Final = 2**53
"""Beyond, JSON readers disagree about the number; no message has as many votes."""


def parse_time(given: object) -> datetime:
    """Return what `time` says, in UTC; ISO-8601 without a zone is UTC already."""
    remedy = "write ISO-8601 or a number of seconds since 1970"
    try:
        if isinstance(given, str):
            time = datetime.fromisoformat(given)
            return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
        if isinstance(given, int | float) and not isinstance(given, bool):
            return datetime.fromtimestamp(given, UTC)
    except (ValueError, OverflowError, OSError) as exc:
        raise SkippableError(f"unreadable time: {shown(given)}; {remedy}") from exc
    raise SkippableError(f"unreadable time: {shown(given)}; {remedy}")


def identifier(fields: dict[str, Any], name: str) -> str | None:
    """Return an identifier, numbers as text; None when it is absent or empty."""
    value = fields.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise SkippableError(f"unusable {name}: {shown(value)} is neither a text nor a whole number")
    return value


def needed(value: str | None, name: str) -> str:
    """Return an identifier that the line cannot do without."""
    if value is None:
        raise SkippableError(f"no {name}: the line needs one")
    return value


def text_of(fields: dict[str, Any]) -> str:
    """Return `text`, with something in it to read."""
    text = fields.get("text")
    if not isinstance(text, str):
        raise SkippableError("no text: the line needs a text")
    try:
        check_text(text)
    except SkippableError as exc:
        raise SkippableError(f"{exc}: there is nothing to read; remove the line") from exc
    if len(text) > TEXT_MAX_CHARS:
        raise SkippableError(f"text too long: {len(text)} characters of at most {TEXT_MAX_CHARS}; split it")
    return text


def votes(fields: dict[str, Any]) -> int:
    """Return `score`."""
    score = fields.get("score")
    if isinstance(score, bool) or not isinstance(score, int) or abs(score) > _SCORE_MAX:
        raise SkippableError(f"unusable score: {shown(score)} is not a whole number")
    return score


def shown(value: object) -> str:
    """Return a value as a reason quotes it: short, and printable whatever it holds."""
    if isinstance(value, list | dict):
        return f"a JSON {type(value).__name__}"
    text = ascii(value)
    return text if len(text) <= 60 else text[:59] + "…"
