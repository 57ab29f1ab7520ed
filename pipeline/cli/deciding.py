"""`tag`, `promote`, `mute`, `undo`: people's decisions, sent where all that changes a space goes."""

from __future__ import annotations

import asyncio
import time
import uuid
from datetime import UTC, datetime
from typing import Annotated, Final

import typer

from connectors.publisher import Publisher
from pipeline.cli.context import connect_broker, opened, require_schema
from pipeline.cli.screen import note, say
from pipeline.errors import FatalError
from pipeline.records import Command, CommandName
from pipeline.settings import Settings
from pipeline.store.database import Database

_WAIT_S: Final = 10.0
_POLL_S: Final = 0.2

Cluster = Annotated[str, typer.Argument(help="Number (12 or '#12'), id, or ticket key.", show_default=False)]
By = Annotated[str, typer.Option("--by", envvar="USER", help="Who decides; kept with the decision.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command("tag")(tag)
    app.command("promote")(promote)
    app.command("mute")(mute)
    app.command("undo")(undo)


def tag(
    cluster: Cluster, name: Annotated[str, typer.Argument(help="The tag.", show_default=False)], by: By = "unknown"
) -> None:
    """Tag a cluster.

    A tagged one may become a ticket whatever its kind.

    Example: groundswell tag 12 billing
    """
    _order(CommandName.TAG, cluster, by, name)


def promote(cluster: Cluster, by: By = "unknown") -> None:
    """Make a cluster a ticket, whatever the policy says.

    Example: groundswell promote 12
    """
    _order(CommandName.PROMOTE, cluster, by)


def mute(cluster: Cluster, by: By = "unknown") -> None:
    """Keep a cluster from becoming a ticket.

    One that has a ticket is not updated any more.

    Example: groundswell mute 12
    """
    _order(CommandName.MUTE, cluster, by)


def undo(
    command_id: Annotated[
        str | None, typer.Argument(help="Id of a command, as `groundswell why` lists it.", show_default=False)
    ] = None,
    cluster: Annotated[
        str | None, typer.Option("--cluster", help="Take back the latest command about this cluster.")
    ] = None,
    by: By = "unknown",
) -> None:
    """Take a command back.

    By its id, or the latest one about a cluster.

    Example: groundswell undo 3f2a9c0d

    Example: groundswell undo --cluster 12
    """
    if (command_id is None) == (cluster is None):
        raise typer.BadParameter("name a command's id, or a cluster with --cluster")
    _order(CommandName.UNDO, cluster, by, command_id)


def _order(name: CommandName, cluster: str | None, by: str, value: str | None = None) -> None:
    settings = Settings.load()
    bootstrap = connect_broker(settings)
    asyncio.run(_send(settings, bootstrap, name, cluster, by, value))


async def _send(
    settings: Settings, bootstrap: str, name: CommandName, cluster: str | None, by: str, value: str | None
) -> None:
    # Imported here: it takes scikit-learn along, seconds that only this command should pay.
    from pipeline.store.explain import command_cluster, find_cluster

    async with opened(settings) as database:
        await require_schema(database)
        if cluster is not None:
            cluster_id = await find_cluster(database, settings.space, cluster)
        else:
            cluster_id = await command_cluster(database, settings.space, value or "")
        try:
            command = Command(
                id=uuid.uuid4().hex[:12],
                space=settings.space,
                name=name,
                cluster_id=cluster_id,
                by=by,
                time=datetime.now(UTC),
                value=value,
            )
        except ValueError as exc:
            raise FatalError(
                "wrong command: --by takes 1 to 255 characters without controls, a tag at most 200 characters"
            ) from exc
        async with Publisher(bootstrap, settings.kafka.prefix, patience_s=_WAIT_S) as publisher:
            await publisher.send_command(command)
        in_force = await _await_effect(database, settings.space, command.id)
    named = cluster or value
    if in_force is None:
        note(
            f"sent as command {command.id}, and no cluster stage took it within {_WAIT_S:.0f} s: it takes effect as "
            f"soon as one runs (groundswell run)"
        )
    elif in_force:
        back = "" if name is CommandName.UNDO else f" (groundswell undo {command.id} takes it back)"
        say(f"{name} {named}: done, command {command.id}{back}")
    else:
        say(f"{name} {named}: taken as command {command.id}, but it changed nothing; groundswell why {cluster_id}")


async def _await_effect(database: Database, space: str, command_id: str) -> bool | None:
    """Return whether the command is in force, None when nobody took it in time."""
    from pipeline.store.explain import command_in_force

    deadline = time.monotonic() + _WAIT_S
    while (in_force := await command_in_force(database, space, command_id)) is None and time.monotonic() < deadline:
        await asyncio.sleep(_POLL_S)
    return in_force
