"""People's decisions, kept with who and when; what is in force is what the fold has not undone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy.ext.asyncio import AsyncConnection

from pipeline.entries import Commanded, Entry
from pipeline.records import Command
from pipeline.state import Effect
from pipeline.store import schema
from pipeline.store.statements import insert_missing, upsert

if TYPE_CHECKING:
    from pipeline.doors import Arrival
    from pipeline.fold import SpaceState


def effect_of(seq: int, row: dict[str, Any] | None) -> Effect:
    """Return the effect that a row of `commands` tells of; those of older releases tell of none."""
    if row is None:
        return Effect(seq)
    return Effect(seq, row["cluster"], row["cosine"], tuple(row["established"]))


def effect_row(effect: Effect | None) -> dict[str, Any] | None:
    """Return what `commands` keeps of an effect."""
    if effect is None:
        return None
    return {"cluster": effect.cluster, "cosine": effect.cosine, "established": list(effect.established)}


async def save_commands(
    connection: AsyncConnection, state: SpaceState, arrivals: Sequence[Arrival], entries: Sequence[Entry]
) -> None:
    """Write the commands of a batch, and which of all are in force now.

    A command about a cluster that is not there is kept too, with `seq` 0: it was never applied.
    """
    applied = {entry.body.command_id: entry.seq for entry in entries if isinstance(entry.body, Commanded)}
    rows = [
        {
            "space": state.space,
            "command_id": command.id,
            "seq": applied.get(command.id, 0),
            "name": command.name,
            "cluster_id": command.cluster_id,
            "by": command.by,
            "at": command.time,
            "value": command.value,
            "in_force": command.id in state.commands,
            "other": command.other,
            "effect": effect_row(state.effects.get(command.id)),
        }
        for arrival in arrivals
        if isinstance(command := arrival.record, Command)
    ]
    if not rows:
        return
    table = schema.commands
    if fresh := [row for row in rows if row["seq"]]:
        await upsert(connection, table, fresh)
    await insert_missing(connection, table, rows)
    undone = table.c.command_id.not_in(list(state.commands) or [""])
    await connection.execute(
        table.update().where(table.c.space == state.space, table.c.in_force, undone).values(in_force=False)
    )
