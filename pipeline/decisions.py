"""What a person's command does to a space, and how it is taken back. Part of the fold (`pipeline.fold`).

What a command did is kept beside it as its `Effect`, as long as it is in force: constraints (`pipeline.constraints`)
and the space's own thresholds (`pipeline.answers`) follow from the two, and taking a command back needs no other
memory. Names, tags, mutes and the like are read off the commands in force (`Space.reflag`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from pipeline.answers import Answer, calibrate
from pipeline.entries import Commanded
from pipeline.establishing import holder_of
from pipeline.records import CommandName
from pipeline.refit import bear, join, relocate, set_threshold
from pipeline.space import Space
from pipeline.state import Cluster, Effect, Lineage, LineageEvent, Status

MOVERS: Final = frozenset({CommandName.MERGE, CommandName.SPLIT})
"""Commands that put messages where they are to stay."""


def take(state: Space, command: Commanded) -> None:
    """Apply a command that is not stale; one that changes nothing is not in force afterwards."""
    cluster = state.survivor(command.cluster_id)
    state.command_ids.add(command.command_id)
    if command.name is CommandName.UNDO:
        undone = _undo(state, cluster, command)
        if not undone:
            return
    # The messages that a split names need not be remembered: each knows the command by which it stands where it does.
    state.commands[command.command_id] = replace(command, messages=())
    effect = _effect(state, cluster, command)
    if effect is None:
        del state.commands[command.command_id]
        return
    state.effects[command.command_id] = effect
    state.reflag(state.survivor(command.cluster_id))
    state.touch(state.survivor(command.cluster_id))
    recalibrate(state)


def _effect(state: Space, cluster: Cluster, command: Commanded) -> Effect | None:
    match command.name:
        case CommandName.PROMOTE:
            return _promote(state, cluster)
        case CommandName.MERGE:
            return _merge(state, cluster, state.survivor(command.other or ""), command)
        case CommandName.SPLIT:
            return _split(state, cluster, command)
        case CommandName.SEPARATE:
            return _separate(state, cluster, state.survivor(command.other or ""), command)
        case _:
            return Effect(state.seq)


def recalibrate(state: Space) -> None:
    """Let the space's thresholds be what the answers in force speak for."""
    state.calibration = calibrate(list(answers(state)), state.settings.hold, state.settings.merge)


def answers(state: Space) -> Iterable[Answer]:
    """Return what people said about pairs of clusters, by the commands in force.

    A split says nothing of where the thresholds should be: the two parts had been one, and of pairs as close as they
    that are one rightly nobody is ever asked.
    """
    for command in state.commands.values():
        effect = state.effects.get(command.command_id)
        if effect is None or effect.cosine is None or command.name is CommandName.SPLIT:
            continue
        if command.name is CommandName.SEPARATE and state.survivor(command.cluster_id) is state.survivor(
            command.other or ""
        ):
            continue  # merged since: taken back in effect
        yield Answer(effect.cosine, same=command.name is CommandName.MERGE)


# -- one by one -------------------------------------------------------------------------------------------------------


def _promote(state: Space, cluster: Cluster) -> Effect:
    holder = state.survivor(cluster.held_by) if cluster.held_by is not None else None
    cosine = _cosine(state, cluster, holder) if holder is not None else None
    released = _establish(state, cluster) if cluster.live and cluster.established_seq is None else ()
    return Effect(state.seq, cosine=cosine, established=released)


def _merge(state: Space, cluster: Cluster, ended: Cluster, command: Commanded) -> Effect | None:
    if cluster is ended:
        return None
    cosine = _cosine(state, cluster, ended)
    _unite(state, ended, cluster, command.command_id, pins=True)
    for waiting in state.clusters.values():
        if waiting.held_by == ended.cluster_id:
            waiting.held_by = None if waiting is cluster else cluster.cluster_id
            state.touch(waiting)
    relocate(state, cluster)
    return Effect(state.seq, ended.cluster_id, cosine)


def _unite(state: Space, ended: Cluster, survivor: Cluster, command_id: str, *, pins: bool) -> None:
    """Join two clusters, and ask of newcomers what members of both would meet, until the next fit has measured it.

    The middle of both is further from each side's members than its own was: by the side's cosine to the middle, if
    what sets them apart from their own middle is at right angles to the way there.
    """
    sides = [replace(one) for one in (ended, survivor) if one.live and one.centroid is not None]
    join(state, ended, survivor, command_id, pins=pins)
    relocate(state, survivor)
    reached = [side.threshold * state.centroids.cosine(side, survivor) for side in sides]
    survivor.threshold = max(state.settings.attach_floor, min(reached, default=survivor.threshold))


def _split(state: Space, cluster: Cluster, command: Commanded) -> Effect | None:
    known = (state.members.get(ref) for ref in dict.fromkeys(command.messages))
    named = [m for m in known if m is not None and m.cluster_id == cluster.cluster_id and m.follows is None]
    if not named or len(named) >= cluster.count:
        return None
    named.sort(key=lambda m: m.seq)
    part = bear(state, command.messages[0], cluster.cluster_id, len(cluster.total), command.command_id)
    part.fits = cluster.fits
    state.cause = ("split", command.command_id)
    for member in named:
        state.leave(member)
        state.place(member, Status.CLUSTERED, part.cluster_id)
        member.via = command.command_id
    state.cause = ("joined", None)
    relocate(state, cluster, part)
    set_threshold(state, part, [m.vector for m in named if m.vector is not None])
    cosine = _cosine(state, cluster, part)
    # Only now does the constraint between the two hold, by which neither waits beside the other.
    state.effects[command.command_id] = Effect(state.seq, part.cluster_id, cosine)
    released = _judge(state, part) if part.count >= state.settings.established_size else ()
    return Effect(state.seq, part.cluster_id, cosine, released)


def _separate(state: Space, cluster: Cluster, other: Cluster, command: Commanded) -> Effect | None:
    if cluster is other:
        return None
    cosine = _cosine(state, cluster, other)
    state.effects[command.command_id] = Effect(state.seq, cosine=cosine)
    released: tuple[str, ...] = ()
    for one, beside in ((cluster, other), (other, cluster)):
        if one.held_by == beside.cluster_id:
            released += _judge(state, one)
    state.touch(other)
    return Effect(state.seq, cosine=cosine, established=released)


def _judge(state: Space, cluster: Cluster) -> tuple[str, ...]:
    """Let a cluster wait beside the nearest established one that is too close, or release it."""
    established = [c for c in state.clusters.values() if c.live and c is not cluster and c.established_seq is not None]
    holder = holder_of(state, cluster, established, state.constraints())
    if holder is None:
        return _establish(state, cluster)
    cluster.held_by = holder.cluster_id
    state.touch(cluster)
    return ()


def _establish(state: Space, cluster: Cluster) -> tuple[str, ...]:
    cluster.held_by, cluster.established_seq = None, state.seq
    state.touch(cluster)
    return (cluster.cluster_id,)


def _cosine(state: Space, one: Cluster, other: Cluster) -> float | None:
    if not one.live or not other.live or one.centroid is None or other.centroid is None:
        return None
    return state.centroids.cosine(one, other)


# -- taking back ------------------------------------------------------------------------------------------------------


def _undo(state: Space, cluster: Cluster, undo: Commanded) -> bool:
    """Take back the named command about this cluster, or its latest; tell whether there was one."""
    mine = [c for c in state.commands.values() if c.name is not CommandName.UNDO and cluster in _about(state, c)]
    command = next((c for c in reversed(mine) if undo.value is None or undo.value == c.command_id), None)
    if command is None:
        return False
    effect = state.effects[command.command_id]
    kin = moved_by(state, command)
    del state.commands[command.command_id], state.effects[command.command_id]
    state.cause = ("command", undo.command_id)
    if command.name is CommandName.MERGE:
        _revive(state, command, effect, kin, undo)
    elif command.name is CommandName.SPLIT:
        _rejoin(state, command, effect, undo)
    state.cause = ("joined", None)
    for cluster_id in effect.established:
        released = state.clusters[cluster_id]
        if released.established_seq == effect.seq:
            released.established_seq = None
            state.touch(released)
    for one in _about(state, command, effect):
        state.reflag(one)
        state.touch(one)
    for one in list(state.clusters.values()):
        if command.command_id in one.inherited:
            state.reflag(state.survivor(one.cluster_id))
    return True


def _about(state: Space, command: Commanded, effect: Effect | None = None) -> list[Cluster]:
    """Return the clusters that a command is about, as they are now."""
    effect = effect or state.effects.get(command.command_id)
    made = effect.cluster if effect is not None else None
    return [state.survivor(one) for one in (command.cluster_id, command.other, made) if one is not None]


def moved_by(state: Space, command: Commanded) -> set[str]:
    """Return the commands by which messages stand where they do that would move if this one were taken back.

    The command itself and, for a merge, those that had put messages into the cluster that it ended.
    """
    if command.name is not CommandName.MERGE:
        return {command.command_id}
    ended = state.effects[command.command_id].cluster
    inside = {c.cluster_id for c in state.clusters.values() if ended in _ends(state, c)}
    return {command.command_id} | {
        one.command_id
        for one in state.commands.values()
        if one.name in MOVERS
        and (into := state.effects[one.command_id].cluster) in inside
        and (one.name is CommandName.SPLIT or into != ended)
    }


def _ends(state: Space, cluster: Cluster) -> set[str]:
    """Return a cluster and all that it merged into."""
    chain = {cluster.cluster_id}
    while cluster.merged_into is not None:
        cluster = state.clusters[cluster.merged_into]
        chain.add(cluster.cluster_id)
    return chain


def _revive(state: Space, command: Commanded, effect: Effect, kin: set[str], undo: Commanded) -> None:
    """Give the ended cluster back the members that it had; those that joined later stay."""
    ended = state.clusters[effect.cluster or ""]
    into = state.survivor(ended.cluster_id)
    own = [m for m in state.members.values() if m.cluster_id == into.cluster_id and m.via in kin]
    ended.merged_into = None
    for member in sorted(own, key=lambda m: m.seq):
        via = None if member.via == command.command_id else member.via
        state.leave(member)
        state.place(member, Status.CLUSTERED, ended.cluster_id)
        member.via = via
    state.record(LineageEvent(state.seq, ended.cluster_id, Lineage.REVIVED, into.cluster_id, undo.command_id))
    relocate(state, ended, into)


def _rejoin(state: Space, command: Commanded, effect: Effect, undo: Commanded) -> None:
    """Put what was split off back to where it came from."""
    part = state.clusters[effect.cluster or ""]
    home, now = state.survivor(command.cluster_id), state.survivor(part.cluster_id)
    own = [m for m in state.members.values() if m.via == command.command_id]
    for member in sorted(own, key=lambda m: m.seq):
        if now is part or now is home:
            member.via = None
            state.changed(member)
        else:
            state.leave(member)
            state.place(member, Status.CLUSTERED, home.cluster_id)
    if now is part and now is not home:
        _unite(state, part, home, undo.command_id, pins=False)
    relocate(state, home)
