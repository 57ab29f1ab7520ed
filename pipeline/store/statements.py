"""Statements that several parts of the store share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from sqlalchemy import Column, ColumnElement, Table, and_, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from pipeline.records import MessageRef

CHUNK: Final = 400
"""Values in one IN list; SQLite's own limit is 32,766 parameters, PostgreSQL's planner likes fewer."""


async def upsert(
    connection: AsyncConnection, table: Table, rows: Sequence[Mapping[str, Any]], newest_by: str | None = None
) -> None:
    """Insert `rows`, or overwrite those whose primary key is there and whose `newest_by`, if given, is not newer."""
    statement = insert_into(connection, table)
    keys = [column.name for column in table.primary_key]
    values = {name: statement.excluded[name] for name in rows[0] if name not in keys}
    newer = None if newest_by is None else table.c[newest_by] <= statement.excluded[newest_by]
    await connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=values, where=newer), list(rows))


def insert_into(connection: AsyncConnection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """Return an INSERT that can be told what to do `on_conflict_…`, in the database's own dialect."""
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)


async def insert_missing(connection: AsyncConnection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert those of `rows` whose key is not there; the others stay as they are."""
    await connection.execute(insert_into(connection, table).on_conflict_do_nothing(), list(rows))


async def one_at_a_time(connection: AsyncConnection, what: str) -> None:
    """Wait until no other writing transaction that named the same is under way, and keep others waiting until the end.

    For what is looked up first and written then, where no row is there yet to be locked. SQLite has one writer anyway.
    """
    if connection.dialect.name == "postgresql":
        await connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(what, 0))))


def storable(value: Any) -> Any:
    """Return a text as every database takes it, what is no text as it is.

    A tracker's answer may hold NUL, or half a surrogate pair.
    """
    return value.encode("utf-8", "replace").decode().replace("\x00", "") if isinstance(value, str) else value


def naming(platform: Column[Any], message_id: Column[Any], refs: Iterable[MessageRef]) -> Iterator[ColumnElement[bool]]:
    """Yield conditions that together name `refs`: one platform and a bounded list of ids each.

    A list of pairs would read better, and makes SQLite 3.40 scan the whole space instead of using the key.
    """
    for name, group in groupby(sorted(refs), key=lambda ref: ref.platform):
        ids = [ref.message_id for ref in group]
        for start in range(0, len(ids), CHUNK):
            yield and_(platform == name, message_id.in_(ids[start : start + CHUNK]))
