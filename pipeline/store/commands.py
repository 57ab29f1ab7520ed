"""People's decisions, kept with who and when; what is in force is what the fold has not undone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy.ext.asyncio import AsyncConnection

from pipeline.records import Command
from pipeline.store import schema
from pipeline.store.spaces import upsert

if TYPE_CHECKING:
    from pipeline.doors import Arrival
    from pipeline.fold import SpaceState


async def save_commands(connection: AsyncConnection, state: SpaceState, arrivals: Sequence[Arrival]) -> None:
    """Write the commands of a batch, and whether each on the clusters they touch is in force now."""
    rows = [
        {
            "space": state.space,
            "command_id": command.id,
            "seq": state.seq,
            "name": command.name,
            "cluster_id": command.cluster_id,
            "by": command.by,
            "at": command.time,
            "value": command.value,
            "in_force": command.id in state.commands,
        }
        for arrival in arrivals
        if isinstance(command := arrival.record, Command)
    ]
    if not rows:
        return
    await upsert(connection, schema.commands, rows)
    table = schema.commands
    undone = table.c.command_id.not_in(list(state.commands) or [""])
    await connection.execute(
        table.update().where(table.c.space == state.space, table.c.in_force, undone).values(in_force=False)
    )
