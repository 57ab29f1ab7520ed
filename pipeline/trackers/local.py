"""The local tracker: issues in groundswell's own database, for who has no Jira, or not yet.

The port blocks, off the event loop; `local_engines` has the way to the database.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import sqlalchemy as sa

from pipeline.errors import FatalError, RetriableError, SkippableError
from pipeline.trackers import wiki
from pipeline.trackers.local_engines import new_engine
from pipeline.trackers.port import IssueDraft, IssuePage, IssueRef, IssueState

KEY_PREFIX: Final = "GS-"
PAGE: Final = 100
"""Issues that `list_issues` returns at once."""
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
    place = "local"
    search_lag_s: tuple[float, ...] = ()

    def __init__(self, database_url: str, now: Callable[[], datetime] = _now) -> None:
        self._now = now
        self._engine = new_engine(database_url)

    def __repr__(self) -> str:
        """Name the database."""
        return f"LocalTracker({self._engine!r})"

    def ensure(self) -> None:
        """Create the tables where they are missing; nothing is written where they are not."""
        if self._engine.read(_missing):
            self._engine.write(metadata.create_all)

    def create(self, draft: IssueDraft) -> IssueRef:
        """Create one issue; its key counts up and is never used again."""
        now = self._stamp()
        values = _values(draft) | {"created_at": now, "updated_at": now}
        number = self._engine.write(
            lambda connection: connection.execute(issues.insert().values(values)).inserted_primary_key
        )
        assert number is not None
        return _ref(number[0])

    def preview(self, draft: IssueDraft, comment: str) -> Mapping[str, Any]:
        """Return the two rows, but for numbers and times."""
        return {"issue": _values(draft)} | ({"comment": {"body": _text(comment)}} if comment else {})

    def find(self, label: str) -> list[IssueRef]:
        """Every issue that carries `label`, oldest first; sees every write at once."""

        def found(connection: sa.Connection) -> list[int]:
            of_file = connection.dialect.name == "sqlite"
            elements = sa.func.json_each if of_file else sa.func.json_array_elements_text
            each = elements(issues.c.labels).table_valued("value")
            carries = sa.exists().select_from(each).where(each.c.value == wiki.label_slug(label))
            return list(connection.scalars(sa.select(issues.c.number).where(carries).order_by(issues.c.number)))

        return [_ref(number) for number in self._engine.read(found)]

    def read(self, issue_id: str) -> IssueState | None:
        """Read the issue, people's notes below the machine-owned part, or None when it was deleted."""
        query = sa.select(issues).where(issues.c.number == _number(issue_id))
        row = self._engine.read(lambda connection: connection.execute(query).one_or_none())
        if row is None:
            return None
        return _state(row)

    def list_issues(self, window: timedelta, page: str | None = None, *, and_open: bool = False) -> IssuePage:
        """List what changed within `window`, and with `and_open` what is not done, in order of creation."""
        since = (self._now() - window).astimezone(UTC).isoformat()
        wanted = issues.c.updated_at >= since
        if and_open:
            wanted |= issues.c.status.not_in(_DONE)
        begin = 0 if page is None else _number(page)
        query = sa.select(issues).where(issues.c.number > begin, wanted).order_by(issues.c.number).limit(PAGE + 1)
        rows = self._engine.read(lambda connection: connection.execute(query).all())
        next_page = str(rows[PAGE - 1].number) if len(rows) > PAGE else None
        return IssuePage(tuple(_state(row) for row in rows[:PAGE]), next_page)

    def update(self, issue_id: str, draft: IssueDraft) -> None:
        """Rewrite the machine-owned part and add labels; SkippableError when the issue is gone."""
        number = _number(issue_id)

        def change(connection: sa.Connection) -> None:
            # Locked: another writer's labels are seen, or wait.
            query = sa.select(issues.c.labels).where(issues.c.number == number).with_for_update()
            had = connection.scalar(query)
            if had is None:
                raise SkippableError(f"local issue {issue_id} no longer exists")
            labels = list(dict.fromkeys([*had, *_labels(draft)]))
            self._change(connection, number, description=_text(draft.description), labels=labels)

        self._engine.write(change)

    def put_comment(self, issue_id: str, comment_id: str | None, text: str) -> str:
        """Create, rewrite or (empty text) delete the one comment; returns its id, "" when it is gone."""
        number = _number(issue_id)
        comment = None if comment_id is None else _number(comment_id)
        return self._engine.write(lambda connection: _put(connection, number, comment, text))

    def comment(self, issue_id: str) -> str | None:
        """Return the text of the issue's comment, for the board."""
        query = sa.select(comments.c.body).where(comments.c.issue == _number(issue_id))
        return self._engine.read(lambda connection: connection.scalar(query))

    def check(self) -> list[str]:
        """Return the problems that would stop the sink, each with its remedy; empty when all is well."""
        try:
            missing = self._engine.read(_missing)
        except (FatalError, RetriableError) as exc:
            return [str(exc)]
        return [f"table {name} is missing: run the database migration" for name in sorted(missing)]

    def set_status(self, issue_id: str, status: Status) -> None:
        """Record a person's decision; "done" and "declined" end the issue."""
        number = _number(issue_id)
        self._engine.write(lambda connection: self._change(connection, number, status=status))

    def set_notes(self, issue_id: str, notes: str) -> None:
        """Replace what people wrote below the machine-owned part."""
        number = _number(issue_id)
        self._engine.write(lambda connection: self._change(connection, number, notes=_text(notes)))

    def delete(self, issue_id: str) -> None:
        """Delete the issue and its comment; no error when it is gone already."""
        statement = issues.delete().where(issues.c.number == _number(issue_id))
        self._engine.write(lambda connection: connection.execute(statement))

    def close(self) -> None:
        """Close the connections to the database."""
        self._engine.close()

    def _change(self, connection: sa.Connection, number: int, **values: Any) -> None:
        changed = connection.execute(
            issues.update().where(issues.c.number == number).values(**values, updated_at=self._stamp())
        )
        if not changed.rowcount:
            raise SkippableError(f"local issue {number} no longer exists")

    def _stamp(self) -> str:
        return self._now().astimezone(UTC).isoformat()


def _missing(connection: sa.Connection) -> set[str]:
    return set(metadata.tables) - set(sa.inspect(connection).get_table_names())


def _put(connection: sa.Connection, number: int, comment: int | None, text: str) -> str:
    """Put the comment of an issue; see `LocalTracker.put_comment`."""
    # Locked: two who would write the first comment of an issue wait for one another.
    if connection.scalar(sa.select(issues.c.number).where(issues.c.number == number).with_for_update()) is None:
        if not text or comment is not None:
            return ""  # as when the comment alone is gone
        raise SkippableError(f"local issue {number} no longer exists")
    mine = comments.c.issue == number
    if comment is not None:
        mine &= comments.c.id == comment
    found = connection.scalar(sa.select(comments.c.id).where(mine))
    if not text:
        connection.execute(comments.delete().where(mine))
        return ""
    if found is not None:
        connection.execute(comments.update().where(mine).values(body=_text(text)))
        return str(found)
    if comment is not None:
        return ""
    key = connection.execute(comments.insert().values(issue=number, body=_text(text))).inserted_primary_key
    assert key is not None
    return str(key[0])


def _ref(number: int) -> IssueRef:
    key = f"{KEY_PREFIX}{number}"
    return IssueRef(id=str(number), key=key, url=f"local:{key}")


def _state(row: sa.Row[Any]) -> IssueState:
    return IssueState(
        ref=_ref(row.number),
        summary=row.summary,
        description="\n\n".join(part for part in (row.description, row.notes) if part),
        status=row.status,
        done=row.status in _DONE,
        updated_at=datetime.fromisoformat(row.updated_at),
        labels=tuple(row.labels),
    )


def _number(identifier: str) -> int:
    """Return the number of an id ("7") or key ("GS-7")."""
    digits = identifier.removeprefix(KEY_PREFIX)
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 18):
        raise SkippableError(f"not the id or key of a local issue or comment: {identifier[:40]!r}")
    return int(digits)


def _values(draft: IssueDraft) -> dict[str, Any]:
    return {
        "kind": draft.kind,
        "summary": wiki.summary_line(draft.summary),
        "description": _text(draft.description),
        "labels": _labels(draft),
    }


def _text(text: str) -> str:
    return wiki.clip(wiki.clean(text))


def _labels(draft: IssueDraft) -> list[str]:
    return list(dict.fromkeys(map(wiki.label_slug, (draft.label, *draft.labels))))
