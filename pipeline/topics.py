"""The topics: what each carries, for how long, and that the broker really keeps it so."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient  # type: ignore[import-untyped]
from kafka.errors import (  # type: ignore[import-untyped]
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    TopicAlreadyExistsError,
)

from pipeline.errors import FatalError, PipelineError, RetriableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_ADMIN_TIMEOUT_MS = 15_000
_KIB = 1024
# Kafka's limit is on a record with its key, headers and framing.
_OVERHEAD_BYTES = 4 * _KIB


class Cleanup(StrEnum):
    """How Kafka makes room: by age, or by key."""

    DELETE = "delete"
    COMPACT = "compact"


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic. `partitions` is for new topics only: adding some later moves keys and breaks their order."""

    name: str
    key: str
    partitions: int
    retention: timedelta | None  # None for compacted topics: the last value of each key is kept for ever
    cleanup: Cleanup
    max_message_bytes: int
    meaning: str

    @property
    def max_value_bytes(self) -> int:
        """How long a value may be; the rest is for key, headers and framing."""
        return self.max_message_bytes - _OVERHEAD_BYTES

    def settings(self) -> dict[str, str]:
        """Kafka's names for what is promised about this topic."""
        settings = {
            "cleanup.policy": self.cleanup.value,
            # Event time stands in the value: as record time it makes Kafka delete old archives unread.
            "message.timestamp.type": "LogAppendTime",
            "max.message.bytes": str(self.max_message_bytes),
        }
        if self.retention is not None:
            settings["retention.ms"] = str(_ms(self.retention))
        return settings


EVENTS = Topic(
    name="community.events",
    key="the platform container that every event carries",
    partitions=6,
    retention=timedelta(days=7),
    cleanup=Cleanup.DELETE,
    max_message_bytes=256 * _KIB,
    meaning="what connectors saw: messages, edits, deletions, reactions, votes, scores, gaps",
)
SIGNALS = Topic(
    name="community.signals",
    key="space",
    partitions=6,
    retention=timedelta(days=7),
    cleanup=Cleanup.DELETE,
    max_message_bytes=512 * _KIB,
    meaning="messages with kind and vector, and commands: one order for all that changes a space",
)
CLUSTERS_CHANGED = Topic(
    name="clusters.changed",
    key="space",
    partitions=3,
    retention=timedelta(days=7),
    cleanup=Cleanup.DELETE,
    max_message_bytes=256 * _KIB,
    meaning="wake-up: cluster id and version; the database has the state",
)
OUTCOMES = Topic(
    name="outcomes",
    key="space",
    partitions=1,
    retention=timedelta(days=7),
    cleanup=Cleanup.DELETE,
    max_message_bytes=256 * _KIB,
    meaning="the status of a cluster's issue changed",
)
DEAD = Topic(
    name="community.dead",
    key="as it came",
    partitions=1,
    retention=timedelta(days=14),
    cleanup=Cleanup.DELETE,
    max_message_bytes=1024 * _KIB,
    meaning="what can never succeed, the bytes as they came; headers say where and why",
)
CHECKPOINTS = Topic(
    name="connector.checkpoints",
    key="connector/instance/partition",
    partitions=1,
    retention=None,
    cleanup=Cleanup.COMPACT,
    max_message_bytes=256 * _KIB,
    meaning="cursor, read by connectors only",
)
TOPICS = (EVENTS, SIGNALS, CLUSTERS_CHANGED, OUTCOMES, DEAD, CHECKPOINTS)


@dataclass(frozen=True, slots=True)
class TopicsReport:
    """What `ensure_topics` found and did, by full topic name."""

    created: tuple[str, ...]
    altered: Mapping[str, Mapping[str, str]]  # the settings that were put right
    kept: tuple[str, ...]  # was there before, `altered` ones included


@dataclass(frozen=True, slots=True)
class Audit:
    """What is wrong with an existing topic."""

    to_alter: Mapping[str, str]
    losses: tuple[str, ...]  # only a person may change these: each says what is lost


def ensure_topics(bootstrap: str, prefix: str = "", partitions: int | None = None) -> TopicsReport:
    """Make the missing topics and put harmless settings of existing ones right; repeating it changes nothing.

    prefix: before each name. partitions: for each new topic, instead of the table's.
    FatalError if an existing topic has settings that lose data; nothing was created or altered then.
    RetriableError if the broker cannot be reached.
    """
    with _Admin(bootstrap) as admin:
        present = set(admin.list_topics())
        wanted = {prefix + topic.name: topic for topic in TOPICS}
        found = _settings(admin, [name for name in wanted if name in present])
        audits = {name: audit(wanted[name], settings) for name, settings in found.items()}
        if losses := [f"{name}: {loss}" for name, one in audits.items() for loss in one.losses]:
            raise FatalError(
                f"topics on this broker lose data: {'; '.join(losses)}. Change the setting with "
                f"kafka-configs, or give groundswell's topics a prefix of their own."
            )
        missing = {name: topic for name, topic in wanted.items() if name not in present}
        created = _create(admin, missing, partitions)
        altered = {name: dict(one.to_alter) for name, one in audits.items() if one.to_alter}
        if altered:
            admin.alter_configs([_topic(name, settings) for name, settings in altered.items()])
        return TopicsReport(created=created, altered=altered, kept=tuple(audits))


def delete_topics(bootstrap: str, prefix: str) -> None:
    """Remove the topics under a prefix, with all that is in them. For tests: an empty prefix is refused."""
    if not prefix:
        raise FatalError("the topics without a prefix are the real ones: not deleted")
    with _Admin(bootstrap) as admin:
        present = set(admin.list_topics())
        if doomed := [prefix + topic.name for topic in TOPICS if prefix + topic.name in present]:
            admin.delete_topics(doomed)


def broker_id(bootstrap: str) -> str:
    """Return the id of the Kafka cluster: offsets mean something only within one."""
    with _Admin(bootstrap) as admin:
        return str(admin.describe_cluster()["cluster_id"])


def broker_answers(bootstrap: str) -> bool:
    """Whether a broker is there and part of its cluster. Poll the port first: a dead one costs 5 s."""
    try:
        with _Admin(bootstrap, timeout_ms=5_000) as admin:
            return any(not broker.get("is_fenced", False) for broker in admin.describe_cluster()["brokers"])
    except PipelineError:
        return False


def audit(topic: Topic, found: Mapping[str, str]) -> Audit:
    """Compare an existing topic's settings with the table. Pure."""
    policies = {policy.strip() for policy in found["cleanup.policy"].split(",")}
    losses = []
    if topic.cleanup is Cleanup.DELETE and Cleanup.COMPACT in policies:
        losses.append("cleanup.policy has compact, which keeps one record a key; it must be delete")
    if topic.cleanup is Cleanup.COMPACT and Cleanup.DELETE in policies:
        losses.append("cleanup.policy has delete, which forgets cursors; it must be compact")
    if topic.retention is not None:
        if 0 <= int(found["retention.ms"]) < _ms(topic.retention):
            losses.append(f"retention.ms is {found['retention.ms']}, below {_ms(topic.retention)}")
        if int(found["retention.bytes"]) >= 0:
            losses.append(f"retention.bytes is {found['retention.bytes']}, a limit by size; it must be -1")
    to_alter = {}
    if found["message.timestamp.type"] != "LogAppendTime":
        to_alter["message.timestamp.type"] = "LogAppendTime"
    if int(found["max.message.bytes"]) < topic.max_message_bytes:
        to_alter["max.message.bytes"] = str(topic.max_message_bytes)
    return Audit(to_alter=to_alter, losses=tuple(losses))


class _Admin:
    """A kafka-python admin client for one block; its errors leave as RetriableError or FatalError."""

    def __init__(self, bootstrap: str, timeout_ms: int | None = None) -> None:
        self._bootstrap = bootstrap
        self._timeout_ms = timeout_ms or _ADMIN_TIMEOUT_MS
        self._client: Any = None

    def __enter__(self) -> Any:
        try:
            self._client = KafkaAdminClient(
                bootstrap_servers=self._bootstrap,
                bootstrap_timeout_ms=self._timeout_ms,
                request_timeout_ms=self._timeout_ms,
            )
        except KafkaError as exc:
            raise RetriableError(f"no Kafka broker answers at {self._bootstrap}: {exc}") from exc
        return self._client

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._client.close()
        if isinstance(error, (KafkaConnectionError, KafkaTimeoutError)) or getattr(error, "retriable", False):
            raise RetriableError(f"the Kafka broker at {self._bootstrap} was lost: {error}") from error
        if isinstance(error, KafkaError):
            raise FatalError(f"the Kafka broker at {self._bootstrap} refused: {error}") from error


def _create(admin: Any, missing: Mapping[str, Topic], partitions: int | None) -> tuple[str, ...]:
    if not missing:
        return ()
    # One by one: of two programs that start at once, one finds some of the topics made by the other.
    created = []
    for name, topic in missing.items():
        spec = {"num_partitions": partitions or topic.partitions, "configs": topic.settings()}
        try:
            admin.create_topics({name: spec})
        except TopicAlreadyExistsError:
            continue
        created.append(name)
    admin.wait_for_topics(list(missing))
    return tuple(created)


def _settings(admin: Any, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Settings in force of each topic, defaults included."""
    resources = [_topic(name, None) for name in names]
    if not resources:
        return {}
    described = admin.describe_configs(resources, config_filter="all")["topic"]
    return {name: {key: entry["value"] for key, entry in found.items()} for name, found in described.items()}


def _topic(name: str, settings: Mapping[str, str] | None) -> ConfigResource:
    return ConfigResource(ConfigResourceType.TOPIC, name, settings and dict(settings))


def _ms(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)
