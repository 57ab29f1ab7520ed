"""What the embedded broker is told: pure texts, and the two ports."""

from __future__ import annotations

import base64
import contextlib
import json
import random
import socket
import uuid
from collections import deque
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


HOST = "127.0.0.1"
JAVA_FLAGS = (
    "-Xms64m",
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:-UsePerfData",
    "-XX:ErrorFile=logs/java-crash.log",
    "-Dlog4j2.configurationFile=log4j2.properties",
)
# Below every system's range of ephemeral ports (from 32768 on Linux): a client that keeps knocking at a
# stopped broker's port in that range can be given that port as its own, and connects to itself.
_PORTS = range(20_000, 32_000)
_LOG_TAIL_LINES = 20

LOG4J2_PROPERTIES = """\
status = error
name = groundswell-broker
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = logs/broker.log
appender.file.filePattern = logs/broker-%i.log
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{ISO8601} %p %c: %m%n
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 8MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 3
rootLogger.level = info
rootLogger.appenderRef.file.ref = file
"""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where clients and where the controller connect, both on HOST only."""

    clients: int
    controller: int

    @property
    def bootstrap(self) -> str:
        """What Kafka clients are given."""
        return f"{HOST}:{self.clients}"


def server_properties(ports: Ports) -> dict[str, str]:
    """Settings of a single KRaft node that lives in its working directory.

    Paths are relative: a data directory may be moved, and its name may have the comma that splits log.dirs.
    """
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        # A static voter: its port may change between starts, which a formatted-in one may not.
        "controller.quorum.voters": f"1@{HOST}:{ports.controller}",
        "listeners": f"PLAINTEXT://{HOST}:{ports.clients},CONTROLLER://{HOST}:{ports.controller}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{ports.clients}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        # After a kill -9 the controller refuses the broker until the dead one's session is over: else 9 s.
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        "log.dirs": "kafka",
        "auto.create.topics.enable": "false",
        # With event time as record time, retention deletes an old archive before anybody has read it.
        "log.message.timestamp.type": "LogAppendTime",
        "message.max.bytes": str(2 * 1024 * 1024),
        "replica.fetch.max.bytes": str(2 * 1024 * 1024),
        # The only copy: a power cut (not a killed process) loses at most this much of what was acknowledged.
        "log.flush.interval.ms": "1000",
        "log.flush.scheduler.interval.ms": "1000",
        "default.replication.factor": "1",
        "min.insync.replicas": "1",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        # Longer than any topic's retention: a stage that was off comes back to where it was.
        "offsets.retention.minutes": str(30 * 24 * 60),
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "1",
        "group.initial.rebalance.delay.ms": "0",
    }


def properties_text(settings: Mapping[str, str]) -> str:
    """The settings as a Java properties file; keys and values are plain ASCII without backslashes."""
    return "".join(f"{key}={value}\n" for key, value in settings.items())


def new_cluster_id() -> str:
    """A random id as Kafka writes them: 22 characters of URL-safe base64, not beginning with a dash."""
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return text


def read_ports(file: Path) -> Ports | None:
    """The ports of the last start, or None."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        return Ports(**json.loads(file.read_text(encoding="utf-8")))
    return None


def write_ports(file: Path, ports: Ports) -> None:
    """Remember the ports, so that clients find the broker again after a restart."""
    file.write_text(json.dumps(asdict(ports)), encoding="utf-8")


def log_tail(files: Iterable[Path]) -> str:
    """The last 20 lines of the files one after the other, indented; Java's stack frames are left out."""
    lines: deque[str] = deque(maxlen=_LOG_TAIL_LINES)
    for file in files:
        with contextlib.suppress(FileNotFoundError):
            text = file.read_text(encoding="utf-8", errors="replace")
            lines.extend(line for line in text.splitlines() if not line.startswith("\tat "))
    return "\n".join(f"  {line}" for line in lines) or "  (it wrote none)"


def choose_ports(wanted: int | None, last: Ports | None) -> Ports | None:
    """Ports that are free now: `wanted`, else the last ones, else any; None if `wanted` is taken."""
    if wanted is not None and not port_is_free(wanted):
        return None
    clients = wanted if wanted is not None else _free_port(last.clients if last else None, taken=None)
    return Ports(clients, _free_port(last.controller if last else None, taken=clients))


def port_is_free(port: int) -> bool:
    """Whether a server could listen on HOST at that port now."""
    with socket.socket() as probe:
        # As Java's server sockets do; otherwise a port stays taken for a minute after a restart.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def port_answers(port: int) -> bool:
    """Whether somebody listens on HOST at that port."""
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1.0):
        return True
    return False


def _free_port(preferred: int | None, taken: int | None) -> int:
    port = preferred
    while port is None or port == taken or not port_is_free(port):
        port = random.choice(_PORTS)
    return port
