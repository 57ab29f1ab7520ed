"""The owner's lease on a space: one writer at a time, fenced by an epoch, timed by the database's own clock."""

from __future__ import annotations

from typing import Final

from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from pipeline.errors import RetriableError
from pipeline.store import schema
from pipeline.store.statements import insert_missing

LEASE_S: Final = 30.0


class LeaseLostError(RetriableError):
    """Another owner holds the space now; whatever this one has in memory is void."""


async def database_now(connection: AsyncConnection) -> float:
    """Return seconds since 1970 on the database's clock."""
    if connection.dialect.name == "sqlite":
        return float((await connection.execute(text("SELECT (julianday('now') - 2440587.5) * 86400.0"))).scalar_one())
    return float((await connection.execute(select(func.extract("epoch", func.clock_timestamp())))).scalar_one())


async def acquire(connection: AsyncConnection, space: str, owner: str) -> int:
    """Take the lease and return its epoch, inside a writing transaction.

    The same owner takes it again at once (a restart after kill -9); another waits until it has run out.

    Raises
    ------
    LeaseLostError
        When another owner's lease still runs; `retry_after_s` says for how long.
    """
    table = schema.leases
    # The row is made first, so that two first owners of a space wait for one another's lock on it.
    await insert_missing(connection, table, [{"space": space, "owner": owner, "epoch": 0, "expires_at": 0.0}])
    row = (await connection.execute(select(table).where(table.c.space == space).with_for_update())).one()
    now = await database_now(connection)
    if row.owner != owner and row.expires_at > now:
        left = row.expires_at - now
        raise LeaseLostError(f"space {space} is owned by {row.owner} for another {left:.0f} s", left)
    epoch = int(row.epoch) + 1
    await connection.execute(
        update(table).where(table.c.space == space).values(owner=owner, epoch=epoch, expires_at=now + LEASE_S)
    )
    return epoch


async def hold(connection: AsyncConnection, space: str, epoch: int) -> None:
    """Check the fence and renew, inside the writing transaction that it guards; LeaseLostError when lost."""
    table = schema.leases
    now = await database_now(connection)
    renewed = await connection.execute(
        update(table).where(table.c.space == space, table.c.epoch == epoch).values(expires_at=now + LEASE_S)
    )
    if renewed.rowcount != 1:
        raise LeaseLostError(f"space {space} has another owner now")


async def release(connection: AsyncConnection, space: str, epoch: int, to: str | None = None) -> None:
    """Let the next owner in at once; a lease that is not ours any more is left alone.

    `to` names who owned it before: that one goes on with what it left unfitted.
    """
    table = schema.leases
    values = {"expires_at": 0.0} | ({"owner": to} if to is not None else {})
    await connection.execute(update(table).where(table.c.space == space, table.c.epoch == epoch).values(values))


async def last_owner(connection: AsyncConnection, space: str) -> str | None:
    """Return who owns the space, or owned it last."""
    table = schema.leases
    return await connection.scalar(select(table.c.owner).where(table.c.space == space))


async def holder(connection: AsyncConnection, space: str) -> str | None:
    """Return who owns the space now, if anybody does."""
    table = schema.leases
    now = await database_now(connection)
    return await connection.scalar(select(table.c.owner).where(table.c.space == space, table.c.expires_at > now))


async def unfitted(connection: AsyncConnection, owner: str, at_least: int) -> list[str]:
    """Return the spaces that `owner` held last and that have so many messages no fit has looked at."""
    table, spaces = schema.leases, schema.spaces
    query = (
        select(table.c.space)
        .join(spaces, spaces.c.space == table.c.space)
        .where(table.c.owner == owner, spaces.c.seen_since_fit >= at_least)
        .order_by(table.c.space)
    )
    return list((await connection.execute(query)).scalars())
