"""What libraries and our own modules log in the command's own process: not on the screen, unless it is ours."""

from __future__ import annotations

import logging
import sys
from typing import Any, Final, TextIO

import structlog

_NOISY: Final = ("kafka", "aiokafka", "faust", "mode", "jgo", "alembic", "asyncio", "sqlalchemy", "urllib3", "requests")


def quiet_libraries() -> None:
    """Take libraries' log lines off the screen; their errors reach us as exceptions, and these are shown."""
    logging.getLogger().addHandler(logging.NullHandler())
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def log_for_people(level: str = "warning") -> None:
    """Show our own log lines on stderr, as a person reads them."""
    _configure(sys.stderr, level, [structlog.stdlib.add_log_level, _as_sentence])


def log_to(stream: TextIO, level: str = "info") -> None:
    """Write our own log lines to a file."""
    _configure(
        stream,
        level,
        [
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"]),
        ],
    )


def _configure(stream: TextIO, level: str, processors: list[Any]) -> None:
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.PrintLoggerFactory(file=stream),
        cache_logger_on_first_use=False,
    )


def _as_sentence(_logger: Any, _name: str, event: dict[str, Any]) -> str:
    rest = ", ".join(f"{key}: {value}" for key, value in event.items() if key not in {"event", "level"})
    return f"{event['level']}: {event['event']}" + (f" ({rest})" if rest else "")
