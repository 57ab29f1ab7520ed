"""What a database's driver raises, in this program's own errors, each with its remedy.

A connection that was lost, in a commit too, is worth another try: whatever the transaction did is known by its keys,
and done again changes nothing. A wrong password or a missing right is for a person.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from pipeline.errors import FatalError, PipelineError, RetriableError

MIGRATE: Final = "run `groundswell migrate`"

_FATAL: Final = {
    "28P01": "correct the password of database.url, or the file that database.password_file names",
    "28000": "let this role and address in, in the server's pg_hba.conf, or correct database.url",
    "3D000": "create it there: CREATE DATABASE {database} OWNER {user}; or correct database.url",
    "42501": "let the role own the database (ALTER DATABASE {database} OWNER TO {user}), or grant it CREATE on its "
    "schema for `groundswell migrate`, and SELECT, INSERT, UPDATE and DELETE on the tables for the rest",
    "42P01": f"the tables are missing, or of another release: {MIGRATE}",
    "42703": f"the tables are of another release: {MIGRATE}",
    "3F000": "the role has no schema to work in: GRANT USAGE, CREATE ON SCHEMA public TO {user}",
}
"""By SQLSTATE, what a person does."""
_WAITS: Final = {
    "53100": ("free space on the server's disk", 30.0),
    "53300": ("raise max_connections there, or run fewer workers", 5.0),
    "25006": ("it takes no writes: is it a standby?", 5.0),
}
"""By SQLSTATE, what is waited for, and for how many seconds."""
_RETRIABLE_CLASSES: Final = ("08", "40", "53", "57", "58")
"""Connection, serialization, resources, an operator's stop, the server's own input and output."""
_LOCK_TIMEOUT: Final = "55P03"


@contextmanager
def translated(url: URL) -> Iterator[None]:
    """Raise what the block's statements raised as FatalError or RetriableError, where it is known what to do."""
    try:
        yield
    except PipelineError:
        raise
    except (SQLAlchemyError, OSError) as exc:
        error = _error(url, exc)
        if error is None:
            raise
        raise error from exc


def shown(url: URL) -> str:
    """Return the URL without its password."""
    return url.render_as_string(hide_password=True)


def _error(url: URL, exc: SQLAlchemyError | OSError) -> PipelineError | None:
    where = f"database {shown(url)}"
    if url.get_backend_name() == "sqlite":
        cause = str(getattr(exc, "orig", ""))
        busy = isinstance(exc, DBAPIError) and ("locked" in cause or "busy" in cause)
        return RetriableError(f"{where}: {cause}") if busy else None
    if isinstance(exc, ssl.SSLCertVerificationError):
        return FatalError(f"{where}: {exc.verify_message}; name the authority's certificate in PGSSLROOTCERT")
    if isinstance(exc, TimeoutError):
        return RetriableError(f"{where} did not answer in time", 2.0)
    if isinstance(exc, OSError):
        return RetriableError(f"cannot reach {where}: {exc}; does it run there? database.url names it", 2.0)
    if isinstance(exc, PoolTimeoutError):
        return RetriableError(f"{where}: every connection of this process is in use", 1.0)
    if not isinstance(exc, DBAPIError):
        return None
    return _by_state(url, where, exc)


def _by_state(url: URL, where: str, exc: DBAPIError) -> PipelineError | None:
    state = str(getattr(exc.orig, "sqlstate", None) or "")
    said = _first_line(exc.orig)
    if state in _FATAL:
        remedy = _FATAL[state].format(database=url.database or "groundswell", user=url.username or "groundswell")
        return FatalError(f"{where}: {said}; {remedy}")
    if state in _WAITS:
        remedy, seconds = _WAITS[state]
        return RetriableError(f"{where}: {said}; {remedy}", seconds)
    if exc.connection_invalidated or state.startswith(_RETRIABLE_CLASSES) or state == _LOCK_TIMEOUT:
        return RetriableError(f"{where}: {said}", 0.2 if state.startswith("40") else 1.0)
    return None


def _first_line(error: Any) -> str:
    """Return what the server said, without the statement and its values: they hold people's words."""
    return str(error).partition("\n")[0][:500]
