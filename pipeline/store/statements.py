"""Statements that several parts of the store share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from sqlalchemy import Column, ColumnElement, Table, and_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from pipeline.records import MessageRef

CHUNK: Final = 400
"""Values in one IN list; SQLite's own limit is 32,766 parameters, PostgreSQL's planner likes fewer."""


async def upsert(
    connection: AsyncConnection, table: Table, rows: Sequence[Mapping[str, Any]], newest_by: str | None = None
) -> None:
    """Insert `rows`, or overwrite those whose primary key is there and whose `newest_by`, if given, is not newer."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(table)
    keys = [column.name for column in table.primary_key]
    values = {name: statement.excluded[name] for name in rows[0] if name not in keys}
    newer = None if newest_by is None else table.c[newest_by] <= statement.excluded[newest_by]
    await connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=values, where=newer), list(rows))


def naming(platform: Column[Any], message_id: Column[Any], refs: Iterable[MessageRef]) -> Iterator[ColumnElement[bool]]:
    """Yield conditions that together name `refs`: one platform and a bounded list of ids each.

    A list of pairs would read better, and makes SQLite 3.40 scan the whole space instead of using the key.
    """
    for name, group in groupby(sorted(refs), key=lambda ref: ref.platform):
        ids = [ref.message_id for ref in group]
        for start in range(0, len(ids), CHUNK):
            yield and_(platform == name, message_id.in_(ids[start : start + CHUNK]))
