"""What Jira's answers and silences mean to us: one table from HTTP to `pipeline.errors`. Pure.

| it happened                               | any call  | a POST that must not be repeated |
|-------------------------------------------|-----------|----------------------------------|
| refused, no such host, connect timeout    | retriable | retriable: nothing was sent      |
| certificate not trusted, malformed header | fatal     | fatal                            |
| reset, read timeout, 408, 5xx, web page   | retriable | uncertain                        |
| 429                                       | retriable | retriable: it had no effect      |
| 400 about the text itself, 413            | skippable | skippable                        |
| 400 about any other field, 422            | fatal     | fatal                            |
| 401, 403, 404, any other 4xx              | fatal     | fatal                            |
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import requests
from urllib3.exceptions import MaxRetryError, NewConnectionError
from urllib3.exceptions import SSLError as TransportSSLError

from pipeline.errors import FatalError, PipelineError, RetriableError, SkippableError, UncertainError

RETRY_AFTER_DEFAULT_S: Final = 10.0
"""For a 429 or 5xx that names no time; the token buckets of Data Center refill within seconds."""
RETRY_AFTER_MAX_S: Final = 3_600.0
"""Cloud's longest quota is an hour; more is a mistake, and must not park a ticket for days."""
_OURS: Final = frozenset({"summary", "description", "comment", "body"})
"""Fields whose content differs from ticket to ticket: only for these may the next draft do better."""
_SETUP: Final = re.compile(r"is required|cannot be set|not on the appropriate screen", re.IGNORECASE)


def from_response(response: requests.Response, what: str, *, once: bool = False) -> PipelineError:
    """Return the error that an answer to `what` means; `once` marks a write not to be repeated blindly."""
    status, said = response.status_code, _words(response)
    head = f"Jira: could not {what}: HTTP {status}" + (f": {said}" if said else "")
    if status == 429:
        return RetriableError(head, retry_after_s(response))
    if status < 400:
        return unreadable(what, once=once)
    if status >= 500 or status == 408:
        return UncertainError(head) if once else RetriableError(head, retry_after_s(response))
    if status == 401:
        return FatalError(
            f"{head}. Make a new token (Data Center: personal access token), set it as tracker.jira.token"
        )
    if status == 403:
        return FatalError(f"{head}. Give groundswell's account the permission in the project, or log it in once")
    if status == 404:
        return FatalError(
            f"{head}. Check tracker.jira.url and tracker.jira.project, and that the account may browse the project"
        )
    if status == 413:
        return SkippableError(head)
    if status in (400, 422):
        return _rejected(response, head)
    return FatalError(f"{head}. No known Jira answers so: check tracker.jira.url")


def from_silence(error: requests.RequestException, what: str, *, once: bool = False) -> PipelineError:
    """Return the error that a call without an answer means, by whether the request was sent."""
    name = type(error).__name__
    head = f"Jira: could not {what}: {name}"
    if isinstance(error, requests.exceptions.SSLError) and "certificate" in str(error).lower():
        return FatalError(f"{head}: the certificate is not trusted. Set REQUESTS_CA_BUNDLE to your authority's file")
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema):
        return FatalError(f"{head}. Check tracker.jira.url")
    if not once or not_sent(error):
        return RetriableError(head, RETRY_AFTER_DEFAULT_S)
    return UncertainError(f"{head} after the request was sent")


def unreadable(what: str, *, once: bool = False) -> PipelineError:
    """Return the error that a success without usable content means."""
    head = f"Jira: could not {what}: the answer is not Jira's (a proxy's or a login page?)"
    return UncertainError(head) if once else RetriableError(head, RETRY_AFTER_DEFAULT_S)


def not_sent(error: requests.RequestException) -> bool:
    """Say whether it failed before a byte of the request left: refused, no such host, handshake."""
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return True
    cause = error.args[0] if error.args else None
    if not isinstance(cause, MaxRetryError):
        return False
    reason = cause.reason
    if isinstance(reason, TransportSSLError):
        return "handshake" in str(reason).lower()
    # a proxy that could not be reached wraps the failure once more
    return isinstance(getattr(reason, "original_error", reason), NewConnectionError)


def retry_after_s(response: requests.Response) -> float:
    """Return the seconds of Retry-After (a number or an HTTP date), from 1 to `RETRY_AFTER_MAX_S`."""
    given = response.headers.get("Retry-After", "").strip()
    if not given:
        return RETRY_AFTER_DEFAULT_S
    seconds = float(given) if given.isdecimal() else _seconds_until(given, response.headers.get("Date", ""))
    return min(max(seconds, 1.0), RETRY_AFTER_MAX_S)


def _seconds_until(date: str, server_now: str) -> float:
    try:
        until = parsedate_to_datetime(date)
    except ValueError:
        return RETRY_AFTER_DEFAULT_S
    try:
        now = parsedate_to_datetime(server_now)  # the server's own clock, when it tells
    except ValueError:
        now = datetime.now(UTC)
    if until.tzinfo is None or now.tzinfo is None:  # "-0000" parses without a zone
        until, now = until.replace(tzinfo=UTC), now.replace(tzinfo=UTC)
    return (until - now).total_seconds()


def _errors(response: requests.Response) -> tuple[dict[str, str], list[str]]:
    """Return Jira's (messages by field, other messages); both empty when the answer is not Jira's JSON."""
    try:
        answer = response.json()
    except ValueError:
        return {}, []
    if not isinstance(answer, dict):
        return {}, []
    fields, others = answer.get("errors"), answer.get("errorMessages")
    return (
        {str(key): str(text) for key, text in fields.items()} if isinstance(fields, dict) else {},
        [str(text) for text in others] if isinstance(others, list) else [],
    )


def _words(response: requests.Response) -> str:
    fields, others = _errors(response)
    if denied := response.headers.get("X-Authentication-Denied-Reason"):
        others = [*others, denied]
    return "; ".join([*others, *(f"{key}: {text}" for key, text in fields.items())])[:500]


def _rejected(response: requests.Response, head: str) -> PipelineError:
    """Tell a draft Jira refuses from a project set up differently: by field, as texts are localised."""
    fields, others = _errors(response)
    setup = [key for key, text in fields.items() if key not in _OURS or _SETUP.search(text)]
    if setup:
        return FatalError(
            f"{head}. Field {', '.join(setup)}: give it a default or make it optional for the issue types "
            "groundswell uses, put it on their create and edit screens; or see tracker.jira.issue_types"
        )
    if any(_SETUP.search(text) for text in others) or response.status_code == 422:
        return FatalError(f"{head}. Change the project's fields and screens so that groundswell's issues are accepted")
    return SkippableError(head)
