"""What the broker says of the topics and of the stages' groups: how long, how far behind, how set."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from kafka import TopicPartition  # type: ignore[import-untyped]
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, OffsetSpec  # type: ignore[import-untyped]
from kafka.errors import CoordinatorNotAvailableError  # type: ignore[import-untyped]

from pipeline.errors import RetriableError
from pipeline.kafka_edge import our_errors, port_answers
from pipeline.topics import CLUSTERS_CHANGED, EVENTS, SIGNALS

READS: Final = {"embed": EVENTS, "cluster": SIGNALS, "file": CLUSTERS_CHANGED}
"""Stage to the topic that it reads."""
_TIMEOUT_MS: Final = 5_000


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """One partition as a stage's group sees it. `committed` is None before the group's first commit."""

    stage: str
    topic: str
    partition: int
    begin: int
    end: int
    half: int
    """First offset that is younger than half of the topic's retention."""
    committed: int | None

    @property
    def next(self) -> int:
        """The offset that the stage is to read next."""
        return max(self.begin, self.committed if self.committed is not None else self.begin)

    @property
    def records(self) -> int:
        """Records that the stage has yet to commit."""
        return max(0, self.end - self.next)

    @property
    def late(self) -> int:
        """Those among them that are older than half of the topic's retention: soon Kafka deletes them unread."""
        return max(0, self.half - self.next)


def group_of(prefix: str, stage: str) -> str:
    """Return the consumer group of a stage."""
    return f"{prefix}groundswell-{stage}"


def stage_lags(bootstrap: str, prefix: str, stages: Iterable[str] = READS) -> list[PartitionLag]:
    """Return the lag of each partition of the topics that `stages` read; a topic that is not there has none.

    Raises
    ------
    RetriableError
        When the broker cannot be reached.
    """
    names = list(stages)
    with _admin(bootstrap) as admin:
        ends = _ends(admin, {prefix + READS[stage].name for stage in names})
        begins = _offsets(admin, dict.fromkeys(ends, OffsetSpec.EARLIEST))
        halves = _offsets(admin, {place: _half_time(place, prefix) for place in ends})
        committed = _committed(admin, [group_of(prefix, stage) for stage in names])
    return [
        PartitionLag(
            stage,
            place.topic,
            place.partition,
            begin=begins[place],
            end=end,
            # -1: every record is older, or there is none.
            half=halves[place] if halves[place] >= 0 else end,
            committed=_commit(committed.get(group_of(prefix, stage)), place),
        )
        for stage in names
        for place, end in sorted(ends.items())
        if place.topic == prefix + READS[stage].name
    ]


def end_offsets(bootstrap: str, topic: str) -> dict[int, int]:
    """Return for each partition how many records were ever written to it; empty when there is no such topic.

    Raises
    ------
    RetriableError
        When the broker cannot be reached.
    """
    with _admin(bootstrap) as admin:
        return {place.partition: end for place, end in _ends(admin, {topic}).items()}


def topic_settings(bootstrap: str, topics: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return the settings in force of each topic that is there, defaults included.

    Raises
    ------
    RetriableError
        When the broker cannot be reached.
    """
    with _admin(bootstrap) as admin:
        there = sorted(set(topics) & set(admin.list_topics()))
        asked = [ConfigResource(ConfigResourceType.TOPIC, name) for name in there]
        found = admin.describe_configs(asked, config_filter="all")["topic"] if asked else {}
    return {name: {key: entry["value"] for key, entry in settings.items()} for name, settings in found.items()}


def _committed(admin: Any, groups: list[str]) -> dict[str, Any]:
    try:
        return dict(admin.list_group_offsets(groups))
    except CoordinatorNotAvailableError:
        # A new broker makes the topic of commits when it is first asked: until then there are none.
        return {}


def _commit(known: Any, place: TopicPartition) -> int | None:
    """Return a group's commit; Kafka says -1 where there is none."""
    return known[place].offset if known and place in known and known[place].offset >= 0 else None


def _half_time(place: TopicPartition, prefix: str) -> int:
    retention = next(topic.retention for topic in READS.values() if prefix + topic.name == place.topic)
    half_s = retention.total_seconds() / 2 if retention is not None else time.time()
    return int((time.time() - half_s) * 1000)


def _ends(admin: Any, topics: set[str]) -> dict[TopicPartition, int]:
    found = sorted(topics & set(admin.list_topics()))
    described = admin.describe_topics(found) if found else []
    places = [TopicPartition(topic["name"], p["partition_index"]) for topic in described for p in topic["partitions"]]
    return _offsets(admin, dict.fromkeys(places, OffsetSpec.LATEST))


def _offsets(admin: Any, asked: dict[TopicPartition, Any]) -> dict[TopicPartition, int]:
    if not asked:
        return {}
    return {place: found.offset for place, found in admin.list_partition_offsets(asked).items()}


@contextlib.contextmanager
def _admin(bootstrap: str) -> Iterator[Any]:
    # The client's constructor blocks on a port that nobody serves.
    if not port_answers(bootstrap):
        raise RetriableError(f"no Kafka broker answers at {bootstrap}")
    with our_errors():
        admin = KafkaAdminClient(
            bootstrap_servers=bootstrap, bootstrap_timeout_ms=_TIMEOUT_MS, request_timeout_ms=_TIMEOUT_MS
        )
        try:
            yield admin
        finally:
            admin.close()
