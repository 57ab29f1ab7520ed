"""Errors, named by what the caller does next.

    PipelineError
    ├── RetriableError   the same call again, after `retry_after_s`
    ├── SkippableError   this record can never succeed: park it in the dead-letter topic and go on
    ├── UncertainError   the call may or may not have taken effect: find out before calling again
    └── FatalError       no record can succeed until a person acts: stop, and say what to do

Edge modules translate their library's errors into these; nothing else catches `Exception`.
"""


class PipelineError(Exception):
    """Root of groundswell's own errors; the message is written for the person who reads it."""


class RetriableError(PipelineError):
    """The same call may succeed later: 429, any 5xx of a read, timeout, connection refused."""

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class SkippableError(PipelineError):
    """The record can never succeed: park it with its reason and go on with the next."""


class UncertainError(PipelineError):
    """A write whose answer was lost: it may have happened. Never repeat it blindly."""


class FatalError(PipelineError):
    """No record can succeed (bad token, no such project, foreign database): stop the worker."""
