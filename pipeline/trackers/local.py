"""The local tracker: issues in the embedded SQLite database, for who has no Jira, or not yet.

It opens a synchronous engine of its own on the store's file: the port blocks, off the event loop. WAL,
`BEGIN IMMEDIATE` and a busy timeout let the store and several processes write beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, Literal

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, OperationalError

from pipeline.errors import FatalError, RetriableError, SkippableError
from pipeline.trackers import wiki
from pipeline.trackers.port import IssueDraft, IssueRef, IssueState

BUSY_TIMEOUT_S: Final = 30
KEY_PREFIX: Final = "GS-"
Status = Literal["open", "in progress", "done", "declined"]
_DONE: Final = frozenset({"done", "declined"})

metadata = sa.MetaData()
"""For Alembic: the tables below."""

issues = sa.Table(
    "local_issues",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("summary", sa.String(255), nullable=False),
    sa.Column("description", sa.Text, nullable=False, comment="the machine-owned part"),
    sa.Column("notes", sa.Text, nullable=False, server_default="", comment="what people wrote"),
    sa.Column("status", sa.String(32), nullable=False, server_default="open"),
    sa.Column("labels", sa.JSON, nullable=False, comment="list of strings, the cluster's mark first"),
    sa.Column("created_at", sa.String(32), nullable=False, comment="UTC, ISO 8601"),
    sa.Column("updated_at", sa.String(32), nullable=False, comment="UTC, ISO 8601"),
    sqlite_autoincrement=True,  # a deleted issue's key must not come back as another issue
)
comments = sa.Table(
    "local_comments",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("issue", sa.ForeignKey("local_issues.number", ondelete="CASCADE"), nullable=False, unique=True),
    sa.Column("body", sa.Text, nullable=False),
    sqlite_autoincrement=True,
)


def _now() -> datetime:
    return datetime.now(UTC)


class LocalTracker:
    """The tracker port on two tables, and what people do (`set_status`, `set_notes`, `delete`).

    No call is ever uncertain: a transaction that failed did nothing. `update` leaves summary and notes alone.
    Texts are kept as plain text, cleaned of controls; whoever shows them escapes them for his medium.
    """

    name = "local"
    search_lag_s: tuple[float, ...] = ()

    def __init__(self, database_url: str, now: Callable[[], datetime] = _now) -> None:
        url = sa.make_url(database_url)
        if url.get_backend_name() != "sqlite":
            raise FatalError("local tracker needs SQLite for now: set tracker to jira, or use the embedded database")
        if not url.database or url.database == ":memory:":
            raise FatalError("local tracker needs a database file: one in memory is seen by one connection only")
        self._now = now
        self._engine = sa.create_engine(sa.URL.create("sqlite", database=url.database))
        sa.event.listen(self._engine, "connect", _on_connect)

    def __repr__(self) -> str:
        """Name the file."""
        return f"LocalTracker({self._engine.url.database!r})"

    def ensure(self) -> None:
        """Create the tables where they are missing."""
        with self._write() as connection:
            metadata.create_all(connection)

    def create(self, draft: IssueDraft) -> IssueRef:
        """Create one issue; its key counts up and is never used again."""
        now = self._stamp()
        values = {
            "kind": draft.kind,
            "summary": wiki.summary_line(draft.summary),
            "description": _text(draft.description),
            "labels": _labels(draft),
            "created_at": now,
            "updated_at": now,
        }
        with self._write() as connection:
            number = connection.execute(issues.insert().values(values)).inserted_primary_key
        assert number is not None
        return _ref(number[0])

    def find(self, label: str) -> list[IssueRef]:
        """Every issue that carries `label`, oldest first; sees every write at once."""
        each = sa.func.json_each(issues.c.labels).table_valued("value")
        carries = sa.exists().select_from(each).where(each.c.value == wiki.label_slug(label))
        query = sa.select(issues.c.number).where(carries).order_by(issues.c.number)
        with self._read() as connection:
            return [_ref(number) for number in connection.scalars(query)]

    def read(self, issue_id: str) -> IssueState | None:
        """Read the issue, people's notes below the machine-owned part, or None when it was deleted."""
        query = sa.select(issues).where(issues.c.number == _number(issue_id))
        with self._read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        return IssueState(
            ref=_ref(row.number),
            summary=row.summary,
            description="\n\n".join(part for part in (row.description, row.notes) if part),
            status=row.status,
            done=row.status in _DONE,
            updated_at=datetime.fromisoformat(row.updated_at),
            labels=tuple(row.labels),
        )

    def update(self, issue_id: str, draft: IssueDraft) -> None:
        """Rewrite the machine-owned part and add labels; SkippableError when the issue is gone."""
        number = _number(issue_id)
        with self._write() as connection:
            had = connection.scalar(sa.select(issues.c.labels).where(issues.c.number == number))
            if had is None:
                raise SkippableError(f"local issue {issue_id} no longer exists")
            labels = list(dict.fromkeys([*had, *_labels(draft)]))
            self._change(connection, number, description=_text(draft.description), labels=labels)

    def put_comment(self, issue_id: str, comment_id: str | None, text: str) -> str:
        """Create, rewrite or (empty text) delete the one comment; returns its id, "" when it is gone."""
        number = _number(issue_id)
        body = _text(text)
        mine = comments.c.issue == number
        with self._write() as connection:
            if connection.scalar(sa.select(issues.c.number).where(issues.c.number == number)) is None:
                if not text or comment_id is not None:
                    return ""  # as when the comment alone is gone
                raise SkippableError(f"local issue {issue_id} no longer exists")
            if comment_id is not None:
                mine &= comments.c.id == _number(comment_id)
            found = connection.scalar(sa.select(comments.c.id).where(mine))
            if not text:
                connection.execute(comments.delete().where(mine))
                return ""
            if found is not None:
                connection.execute(comments.update().where(mine).values(body=body))
                return str(found)
            if comment_id is not None:
                return ""
            key = connection.execute(comments.insert().values(issue=number, body=body)).inserted_primary_key
        assert key is not None
        return str(key[0])

    def comment(self, issue_id: str) -> str | None:
        """Return the text of the issue's comment, for the board."""
        with self._read() as connection:
            return connection.scalar(sa.select(comments.c.body).where(comments.c.issue == _number(issue_id)))

    def check(self) -> list[str]:
        """Return the problems that would stop the sink, each with its remedy; empty when all is well."""
        try:
            with self._read() as connection:
                missing = set(metadata.tables) - set(sa.inspect(connection).get_table_names())
        except (FatalError, RetriableError) as exc:
            return [str(exc)]
        return [f"table {name} is missing: run the database migration" for name in sorted(missing)]

    def set_status(self, issue_id: str, status: Status) -> None:
        """Record a person's decision; "done" and "declined" end the issue."""
        with self._write() as connection:
            self._change(connection, _number(issue_id), status=status)

    def set_notes(self, issue_id: str, notes: str) -> None:
        """Replace what people wrote below the machine-owned part."""
        with self._write() as connection:
            self._change(connection, _number(issue_id), notes=_text(notes))

    def delete(self, issue_id: str) -> None:
        """Delete the issue and its comment; no error when it is gone already."""
        with self._write() as connection:
            connection.execute(issues.delete().where(issues.c.number == _number(issue_id)))

    def close(self) -> None:
        """Close the connections to the file."""
        self._engine.dispose()

    def _change(self, connection: sa.Connection, number: int, **values: Any) -> None:
        changed = connection.execute(
            issues.update().where(issues.c.number == number).values(**values, updated_at=self._stamp())
        )
        if not changed.rowcount:
            raise SkippableError(f"local issue {number} no longer exists")

    def _stamp(self) -> str:
        return self._now().astimezone(UTC).isoformat()

    @contextmanager
    def _write(self) -> Iterator[sa.Connection]:
        with _translated(), self._engine.connect() as connection:
            # At once: a transaction that read first fails on its write when another one wrote meanwhile (WAL)
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
            connection.commit()

    @contextmanager
    def _read(self) -> Iterator[sa.Connection]:
        with _translated(), self._engine.connect() as connection:
            yield connection


def _on_connect(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver would begin transactions of its own, deferred ones
    cursor = connection.cursor()
    for pragma in (f"busy_timeout = {BUSY_TIMEOUT_S * 1000}", "journal_mode = WAL", "foreign_keys = ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OperationalError as exc:
        if "locked" in str(exc.orig) or "busy" in str(exc.orig):
            raise RetriableError(f"local tracker: {exc.orig}") from exc
        raise FatalError(f"local tracker: {exc.orig}. Check the database file and the free space") from exc
    except DBAPIError as exc:
        raise FatalError(f"local tracker: {exc.orig}. Check the database file") from exc


def _ref(number: int) -> IssueRef:
    key = f"{KEY_PREFIX}{number}"
    return IssueRef(id=str(number), key=key, url=f"local:{key}")


def _number(identifier: str) -> int:
    """Return the number of an id ("7") or key ("GS-7")."""
    digits = identifier.removeprefix(KEY_PREFIX)
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 18):
        raise SkippableError(f"not the id or key of a local issue or comment: {identifier[:40]!r}")
    return int(digits)


def _text(text: str) -> str:
    return wiki.clip(wiki.clean(text))


def _labels(draft: IssueDraft) -> list[str]:
    return list(dict.fromkeys(map(wiki.label_slug, (draft.label, *draft.labels))))
