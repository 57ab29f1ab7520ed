"""`tag`, `mute`, `merge`, `split` and their like: people's decisions, sent where all that changes a space goes."""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final

import typer
from rich.text import Text

from connectors.publisher import Publisher
from pipeline.cli.context import connect_broker, opened, require_schema
from pipeline.cli.screen import console, note, say, shown
from pipeline.errors import FatalError
from pipeline.records import COMMAND_MESSAGES_MAX, Command, CommandName, MessageRef, encode
from pipeline.settings import Settings
from pipeline.store.database import Database
from pipeline.topics import SIGNALS

_WAIT_S: Final = 10.0
_POLL_S: Final = 0.2
_QUOTE_CHARS: Final = 160
_NOTHING: Final = {
    CommandName.MERGE: "it changed nothing: the two were one cluster already",
    CommandName.SEPARATE: "it changed nothing: the two are one cluster by now, which `split` takes apart",
    CommandName.SPLIT: "it changed nothing: its messages had moved, or were all that the cluster holds",
    CommandName.UNDO: "it changed nothing: no such command was in force",
}

Cluster = Annotated[str, typer.Argument(help="Number (12 or '#12'), id, or ticket key.", show_default=False)]
Other = Annotated[str, typer.Argument(help="The second cluster, named likewise.", show_default=False)]
By = Annotated[str, typer.Option("--by", envvar="USER", help="Who decides; kept with the decision.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command("tag")(tag)
    app.command("promote")(promote)
    app.command("mute")(mute)
    app.command("not-feedback")(not_feedback)
    app.command("rename")(rename)
    app.command("merge")(merge)
    app.command("separate")(separate)
    app.command("split")(split)
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


def not_feedback(cluster: Cluster, by: By = "unknown") -> None:
    """Say that a cluster is no feedback: opening it was wrong, or would be.

    It never opens a ticket, one that it has is not updated any more, and what a fit splits off from it stays shut
    too. Messages still join it and are accounted for. `mute` only silences; this is an answer about the cluster.

    Example: groundswell not-feedback 12
    """
    _order(CommandName.NOT_FEEDBACK, cluster, by)


def rename(
    cluster: Cluster,
    name: Annotated[str, typer.Argument(help="What to call it.", show_default=False)],
    by: By = "unknown",
) -> None:
    """Give a cluster a name.

    It stays through fits and merges; the ticket's summary follows on its next update.

    Example: groundswell rename 12 "Export loses the last row"
    """
    _order(CommandName.RENAME, cluster, by, name)


def merge(cluster: Cluster, other: Other, by: By = "unknown") -> None:
    """Make two clusters one: the second ends in the first.

    They stay one, whatever fits find later: only `split` and `undo` take them apart. Says to the space that clusters
    this close are the same matter, which moves its own thresholds.

    Example: groundswell merge 12 15
    """
    _order(CommandName.MERGE, cluster, by, other=other)


def separate(cluster: Cluster, other: Other, by: By = "unknown") -> None:
    """Say that two clusters are different matters.

    No fit merges them or moves messages between them, and neither waits beside the other ("close to #12") any more.
    Says to the space that clusters this close can be different, which moves its own thresholds.

    Example: groundswell separate 12 15
    """
    _order(CommandName.SEPARATE, cluster, by, other=other)


def split(
    cluster: Cluster,
    messages: Annotated[
        list[str] | None,
        typer.Argument(help="Those that are another matter, by id or PLATFORM/ID. None: a cut is proposed."),
    ] = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask whether the proposed cut is right.")] = False,
    by: By = "unknown",
) -> None:
    """Take a cluster apart: the named messages become a cluster of their own.

    Without messages, the program cuts the cluster in two, shows typical messages of both halves, and asks. What is
    split off stays apart, whatever fits find later; a mute or a "not feedback" stays with the old cluster only.

    Example: groundswell split 12

    Example: groundswell split 12 discord/1180 discord/1192
    """
    settings = Settings.load()
    bootstrap = connect_broker(settings)
    cluster_id, named = asyncio.run(_messages(settings, cluster, messages or [], yes=yes))
    asyncio.run(_send(settings, bootstrap, _Order(CommandName.SPLIT, cluster_id, by, messages=named, named=cluster)))


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

    By its id, or the latest one about a cluster. A name, a tag, a mute, a `separate`: as if it had never been said.
    A merge: the messages that came with the second cluster are that cluster again, under its old number; what joined
    since stays in the first, and so does a ticket that went over to it. A split: what was split off goes back, with
    what joined it since. Tickets that were opened meanwhile stay open.

    Example: groundswell undo 3f2a9c0d

    Example: groundswell undo --cluster 12
    """
    if (command_id is None) == (cluster is None):
        raise typer.BadParameter("name a command's id, or a cluster with --cluster")
    _order(CommandName.UNDO, cluster, by, command_id)


@dataclass(frozen=True, slots=True)
class _Order:
    """A command as a person gave it: clusters and messages by the names that people use."""

    name: CommandName
    cluster: str | None
    by: str
    value: str | None = None
    other: str | None = None
    messages: tuple[MessageRef, ...] = ()
    named: str | None = None
    """What to call it when it is done, if not by cluster or value."""


def _order(name: CommandName, cluster: str | None, by: str, value: str | None = None, other: str | None = None) -> None:
    settings = Settings.load()
    bootstrap = connect_broker(settings)
    asyncio.run(_send(settings, bootstrap, _Order(name, cluster, by, value, other)))


async def _messages(
    settings: Settings, cluster: str, names: list[str], *, yes: bool
) -> tuple[str, tuple[MessageRef, ...]]:
    """Return the cluster's id and what to split off: what was named, or what a person agrees to."""
    from pipeline.store.explain import find_cluster
    from pipeline.store.trail import named_messages, propose_halves

    async with opened(settings) as database:
        await require_schema(database)
        cluster_id = await find_cluster(database, settings.space, cluster)
        if names:
            return cluster_id, await named_messages(database, settings.space, cluster_id, names)
        halves = await propose_halves(database, settings.space, cluster_id)
    out = console()
    leaving = len(halves.named)
    for title, texts in (
        (f"{leaving} of {halves.count} messages would be a cluster of their own, like:", halves.leaving),
        (f"{halves.count - leaving} would stay, like:", halves.staying),
    ):
        out.print(shown(title, style="bold"), soft_wrap=True)
        for text in texts:
            out.print(Text("  “").append_text(shown(text, _QUOTE_CHARS)).append("”"), soft_wrap=True)
    if not yes:
        typer.confirm("Split it so?", abort=True)
    return cluster_id, halves.named


async def _send(settings: Settings, bootstrap: str, order: _Order) -> None:
    # Imported here: it takes scikit-learn along, seconds that only this command should pay.
    from pipeline.store.explain import command_cluster, find_cluster

    async with opened(settings) as database:
        await require_schema(database)
        if order.cluster is not None:
            cluster_id = await find_cluster(database, settings.space, order.cluster)
        else:
            cluster_id = await command_cluster(database, settings.space, order.value or "")
        other = await find_cluster(database, settings.space, order.other) if order.other is not None else None
        command = _command(settings, order, cluster_id, other)
        async with Publisher(bootstrap, settings.kafka.prefix, patience_s=_WAIT_S) as publisher:
            await publisher.send_command(command)
        in_force = await _await_effect(database, settings.space, command.id)
    named = " ".join(name for name in (order.named or order.cluster or order.value, order.other) if name)
    if in_force is None:
        note(
            f"sent as command {command.id}, and no cluster stage took it within {_WAIT_S:.0f} s: it takes effect as "
            f"soon as one runs (groundswell run)"
        )
    elif in_force:
        back = "" if order.name is CommandName.UNDO else f" (groundswell undo {command.id} takes it back)"
        say(f"{order.name} {named}: done, command {command.id}{back}")
    else:
        reason = _NOTHING.get(order.name, "it changed nothing")
        say(f"{order.name} {named}: taken as command {command.id}, but {reason}; groundswell why {cluster_id}")


def _command(settings: Settings, order: _Order, cluster_id: str, other: str | None) -> Command:
    if other == cluster_id:
        raise FatalError(f"{order.cluster} and {order.other} are one cluster: {order.name} takes two")
    try:
        command = Command(
            id=uuid.uuid4().hex[:12],
            space=settings.space,
            name=order.name,
            cluster_id=cluster_id,
            by=order.by,
            time=datetime.now(UTC),
            value=order.value,
            other=other,
            messages=order.messages,
        )
    except ValueError as exc:
        raise FatalError(
            f"wrong command: --by takes 1 to 255 characters without controls, a tag or a name 1 to 200 characters, "
            f"split at most {COMMAND_MESSAGES_MAX:,} messages"
        ) from exc
    if len(encode(command)) > SIGNALS.max_value_bytes:
        raise FatalError(f"{len(order.messages):,} messages with ids this long are too many for one split: name fewer")
    return command


async def _await_effect(database: Database, space: str, command_id: str) -> bool | None:
    """Return whether the command is in force, None when nobody took it in time."""
    from pipeline.store.explain import command_in_force

    deadline = time.monotonic() + _WAIT_S
    while (in_force := await command_in_force(database, space, command_id)) is None and time.monotonic() < deadline:
        await asyncio.sleep(_POLL_S)
    return in_force
