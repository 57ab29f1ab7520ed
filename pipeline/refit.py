"""What a fit does to a space: births, merges, splits, moves, and who waits beside whom.

The second half of the fold (`pipeline.fold` is the first). Online assignment drifts; a fit over the whole window is
the truth that it is brought back to, under ids that stay.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from models.geometry import View, attach_threshold, cohesion
from pipeline.carrying import take_name
from pipeline.centroids import CHUNK, SCALE, similarities, whole
from pipeline.constraints import Constraints, bend, keep_whole
from pipeline.entries import KIND_COUNT, Fitted, Vector
from pipeline.establishing import anchors_of, count_fits, establish, firm
from pipeline.records import MessageRef
from pipeline.space import Space
from pipeline.state import Cluster, FitReport, Lineage, LineageEvent, Member, Status
from pipeline.tracking import MIN_SHARE, Reconciliation, reconcile

EXPIRING_FITS: Final = 2
"""Fits that must have looked at a waiting message before it expires."""
LEAVE_COSINE: Final = 0.3
"""Of a message to its established cluster's centroid, below which it goes back to the pool."""


def cluster_name(space: str, founder: MessageRef, born_seq: int) -> str:
    """Return a cluster's id: the same in every run and process."""
    return hashlib.sha256(f"{space}\x1f{founder}\x1f{born_seq}".encode()).hexdigest()[:16]


def apply_fit(state: Space, fitted: Fitted) -> None:
    """Reconcile a fit with the clusters there are.

    An established cluster keeps what it has: it takes whole groups that are mostly its own, and loses only what has
    drifted far from it. The others follow the fit group by group, until one of them is sure enough to be established;
    and so does an established one that turns out to be no longer of a piece, as more messages tell its matters apart.
    """
    members, found = _still_there(state, fitted)
    previous = [m.cluster_id for m in members]
    homes = [state.clusters[m.cluster_id] if m.cluster_id is not None else None for m in members]
    order = {cluster_id: cluster.number for cluster_id, cluster in state.clusters.items()}
    constraints = state.constraints()
    bent = bend(found, previous, order, constraints)
    labels = bent.labels
    established = {c.cluster_id for c in state.clusters.values() if c.live and c.established_seq is not None}
    rows = fitted.view.of(np.stack([m.vector for m in members if m.vector is not None])) if members else None
    anchors = anchors_of(rows, labels, previous, firm(state, rows, previous, established)) if rows is not None else {}
    plan = keep_whole(reconcile(labels, previous, order, anchors), constraints)
    state.cause = ("fit", None)
    targets = dict(plan.continued)
    for label, source in plan.born.items():
        # Named after the first message that was fitted, erased by now or not: a rebuild must find the same name. What
        # people's decisions divide has labels that the fit does not know.
        refs, own = ([m.ref for m in members], labels) if label in bent.divided else (fitted.refs, fitted.labels)
        founder = refs[int(np.argmax(own == label))]
        targets[label] = bear(state, founder, source, len(fitted.view.mean)).cluster_id
    merged = 0
    for ended, into in plan.merged.items():
        survivor = state.survivor(targets[into] if isinstance(into, int) else into)
        if ended != survivor.cluster_id and not constraints.parted(ended, survivor.cluster_id):
            join(state, state.clusters[ended], survivor)
            merged += 1
    targets = {label: state.survivor(one).cluster_id for label, one in targets.items()}
    for member, label in zip(members, labels.tolist(), strict=True):
        if (
            label < 0
            or member.cluster_id == targets[label]
            or member.via is not None
            or member.cluster_id in plan.whole
        ):
            continue
        if not constraints.parted(member.cluster_id or "", targets[label]):
            parted = member.cluster_id is not None and plan.born.get(label) == member.cluster_id
            state.cause = ("split" if parted else "fit", None)
            state.leave(member)
            state.place(member, Status.CLUSTERED, targets[label])
    state.cause = ("fit", None)
    again = [state.clusters[cluster_id] for cluster_id in targets.values()]
    for label, name in fitted.names:
        if label in targets:
            take_name(state, targets[label], name)
    _locate(state, fitted.view)
    merged += _merge_sure(state)
    found_again = {state.survivor(cluster.cluster_id).cluster_id for cluster in again}
    pieces = _set_thresholds(state, members, labels)
    loose = [
        member
        for index, (member, label) in enumerate(zip(members, labels.tolist(), strict=True))
        if label < 0 and index not in bent.stays and member.via is None
    ]
    _settle_loose(state, loose, constraints, established)
    _expire(state, members)
    count_fits(state, found_again, members, homes)
    establish(state, state.constraints(), pieces)
    _locate(state, fitted.view)
    state.cause = ("joined", None)
    _report(state, fitted, plan, dict(zip((m.ref for m in members), previous, strict=True)), established, merged)


def _still_there(state: Space, fitted: Fitted) -> tuple[list[Member], npt.NDArray[np.int32]]:
    """Leave out what was erased, edited or set aside since the fit began."""
    members: list[Member] = []
    labels: list[int] = []
    for ref, label in zip(fitted.refs, fitted.labels.tolist(), strict=True):
        member = state.members.get(ref)
        if (
            member is not None
            and member.seq <= fitted.begun_seq
            and member.vector is not None
            and member.follows is None
            and member.status in {Status.POOL, Status.CLUSTERED}
        ):
            members.append(member)
            labels.append(label)
    return members, np.array(labels, np.int32)


def bear(
    state: Space, founder: MessageRef, source: str | None, dimensions: int, command_id: str | None = None
) -> Cluster:
    """Found a cluster, empty yet; `command_id` is that of the person who split it off, None where a fit found it."""
    cluster = Cluster(
        cluster_id=cluster_name(state.space, founder, state.seq),
        number=state.next_number,
        born_seq=state.seq,
        total=np.zeros(dimensions),
        count=0,
        log_kinds=np.zeros(KIND_COUNT),
        threshold=state.settings.attach_floor,
        split_from=source,
    )
    state.next_number += 1
    state.clusters[cluster.cluster_id] = cluster
    state.touch(cluster)
    if source is not None and command_id is None:
        cluster.inherited = tuple(state.passed_on(state.clusters[source]))
        state.reflag(cluster)
    what = Lineage.BORN if source is None else Lineage.SPLIT
    state.record(LineageEvent(state.seq, cluster.cluster_id, what, source, command_id))
    return cluster


def join(state: Space, ended: Cluster, survivor: Cluster, command_id: str | None = None, *, pins: bool = False) -> None:
    """Make one cluster part of another.

    Parameters
    ----------
    command_id : str, optional
        Of the command that does it; None where a fit does.
    pins : bool
        Whether the members stay in the survivor, whatever fits say.
    """
    survivor.total += ended.total
    survivor.count += ended.count
    survivor.log_kinds += ended.log_kinds
    survivor.fits = max(survivor.fits, ended.fits)
    if ended.established_seq is not None:
        survivor.established_seq = min(ended.established_seq, survivor.established_seq or ended.established_seq)
        survivor.held_by = None
    ended.total, ended.count, ended.log_kinds = np.zeros_like(ended.total), 0, np.zeros_like(ended.log_kinds)
    ended.merged_into, ended.held_by = survivor.cluster_id, None
    before, state.cause = state.cause, ("merge", command_id)
    for member in state.members.values():
        if member.cluster_id == ended.cluster_id:
            member.cluster_id = survivor.cluster_id
            if pins and member.follows is None and member.via is None:
                member.via = command_id
            state.changed(member)
            state.moved(member, ended.cluster_id)
    state.cause = before
    for cluster in (ended, survivor):
        state.touch(cluster)
    state.reflag(survivor)
    state.record(LineageEvent(state.seq, ended.cluster_id, Lineage.MERGED, survivor.cluster_id, command_id, pins))


def relocate(state: Space, *clusters: Cluster) -> None:
    """Give clusters whose members a person moved their new centroids, before the next fit does."""
    for cluster in clusters:
        if cluster.live:
            state.centroids.settle(cluster)
        state.refitted(cluster)
    state.centroids.rebuild(state.clusters.values(), state.centroids.view)


def _locate(state: Space, view: View) -> None:
    """Give every live cluster its centroid in the view of the newest fit, from the members that it has now."""
    state.centroids.rebuild((), view)
    for cluster in state.clusters.values():
        if cluster.live:
            state.centroids.settle(cluster)
            state.refitted(cluster)
    state.centroids.rebuild(state.clusters.values(), view)


def _merge_sure(state: Space) -> int:
    """Make one of what lies so close that nobody would tell it apart; return how many ended."""
    live = [c for c in state.clusters.values() if c.live and c.centroid is not None]
    merged, constraints = 0, state.constraints()
    if len(live) < 2:
        return merged
    rows = whole(np.stack([c.centroid for c in live if c.centroid is not None]))
    for start in range(0, len(live), CHUNK):
        cosines = rows[start : start + CHUNK] @ rows.T / (SCALE * SCALE)
        near = np.argwhere(cosines >= state.merge_threshold)
        near[:, 0] += start
        for one, other in near[near[:, 0] < near[:, 1]].tolist():
            first, second = sorted((state.survivor(live[k].cluster_id) for k in (one, other)), key=_seniority)
            if first is second or constraints.parted(first.cluster_id, second.cluster_id):
                continue
            if state.centroids.cosine(first, second) >= state.merge_threshold:
                join(state, second, first)
                relocate(state, first)
                # What was kept apart from the one that ended is now kept apart from the one that goes on.
                merged, constraints = merged + 1, state.constraints()
    return merged


def _seniority(cluster: Cluster) -> tuple[bool, int, int]:
    """Who goes on when two become one: the established one, of two the earlier, else the bigger."""
    return cluster.established_seq is None, cluster.established_seq or -cluster.count, cluster.number


def _set_thresholds(state: Space, members: list[Member], labels: npt.NDArray[np.int32]) -> dict[str, float]:
    """Let each cluster ask of newcomers what nine tenths of those meet that the fit put there; return its cohesion."""
    found: dict[str, list[Vector]] = {}
    for member, label in zip(members, labels.tolist(), strict=True):
        if label >= 0 and member.cluster_id is not None and member.vector is not None:
            found.setdefault(member.cluster_id, []).append(member.vector)
    pieces = {}
    for cluster_id, vectors in found.items():
        cluster = state.clusters[cluster_id]
        if cluster.centroid is not None:
            pieces[cluster_id] = set_threshold(state, cluster, vectors)
    return pieces


def set_threshold(state: Space, cluster: Cluster, vectors: Sequence[Vector]) -> float:
    """Set a cluster's threshold by these of its members, at least one; return how much of a piece they are."""
    assert cluster.centroid is not None
    rows = state.centroids.seen(vectors)
    cosines = similarities(rows, cluster.centroid)
    cluster.threshold = attach_threshold(cosines, floor=state.settings.attach_floor)
    state.refitted(cluster)
    return cohesion(rows)


def _settle_loose(state: Space, loose: list[Member], constraints: Constraints, established: Collection[str]) -> None:
    """What the fit calls noise waits, or goes where online assignment would put it; the established keep their own."""
    vectors = [m.vector for m in loose if m.vector is not None]
    if not vectors:
        return
    state.centroids.foresee(vectors)
    for member, vector, row in zip(loose, vectors, state.centroids.seen(vectors), strict=True):
        home = state.clusters[member.cluster_id] if member.cluster_id is not None else None
        if home is not None and home.cluster_id in established and home.centroid is not None:
            if float(similarities(row[None, :], home.centroid)[0]) >= LEAVE_COSINE:
                continue
            near = None
        else:
            near = state.centroids.nearest(vector, state.settings.attach_margin)
        if near is home or (
            near is not None and home is not None and constraints.parted(home.cluster_id, near.cluster_id)
        ):
            continue
        state.leave(member)
        state.place(
            member, Status.POOL if near is None else Status.CLUSTERED, None if near is None else near.cluster_id
        )


def _expire(state: Space, members: list[Member]) -> None:
    assert state.now is not None
    in_window = {m.ref for m in state.fit_members()}
    waiting = [m for m in state.members.values() if m.status is Status.POOL and m.follows is None]
    looked_at = {m.ref for m in members}
    for member in waiting:
        member.fits += member.ref in looked_at
        state.changed(member)
        old = member.fits >= EXPIRING_FITS and state.now - member.at > state.settings.pool_ttl
        if old or member.ref not in in_window:
            state.place(member, Status.EXPIRED, None, "found no company")


def _report(
    state: Space,
    fitted: Fitted,
    plan: Reconciliation[str],
    before: dict[MessageRef, str | None],
    established: set[str],
    merged: int,
) -> None:
    """Count what a fit did to the messages that stood in a cluster before it."""
    assert state.now is not None
    sizes = Counter(cluster for cluster in before.values() if cluster is not None)
    after = {ref: state.members[ref].cluster_id for ref in before}
    left = Counter(
        (cluster, after[ref]) for ref, cluster in before.items() if cluster is not None and after[ref] != cluster
    )
    moved, to_pool, blocks = Counter[bool](), Counter[bool](), 0
    for (cluster, target), count in left.items():
        if target is None:
            to_pool[cluster in established] += count
        elif (
            cluster in plan.merged
            or state.clusters[target].born_seq == state.seq
            or count >= MIN_SHARE * sizes[cluster]
        ):
            blocks += count
        else:
            moved[cluster in established] += count
    state.report(
        FitReport(
            seq=state.seq,
            at=state.now,
            begun_seq=fitted.begun_seq,
            messages=len(before),
            clustered=sizes.total(),
            moved=moved.total(),
            to_pool=to_pool.total(),
            in_blocks=blocks,
            established=sum(count for cluster, count in sizes.items() if cluster in established),
            established_moved=moved[True],
            established_to_pool=to_pool[True],
            born=sum(source is None for source in plan.born.values()),
            merged=merged,
            split=sum(source is not None for source in plan.born.values()),
        )
    )
