"""The embedded broker as its users have it: started, killed, started twice, lied to."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
from kafka import KafkaConsumer, KafkaProducer  # type: ignore[import-untyped]
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient  # type: ignore[import-untyped]

from pipeline.broker import EmbeddedBroker
from pipeline.broker_jars import Jar, default_cache_dir, ensure_jars, locked_jars
from pipeline.errors import FatalError, RetriableError
from pipeline.topics import EVENTS, TOPICS, delete_topics, ensure_topics

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JSPECIFY = next(jar for jar in locked_jars() if "jspecify" in jar.coordinate)  # 4 kB: the smallest


@pytest.fixture
def own(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    """A broker that the test may treat as it likes; not started."""
    one = EmbeddedBroker(tmp_path / "broker", default_cache_dir())
    yield one
    one.kill()


def produce(bootstrap: str, topic: str, values: list[bytes], timestamp_ms: int | None = None) -> None:
    """Send and await the acknowledgement of each."""
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    for sent in [producer.send(topic, value, timestamp_ms=timestamp_ms) for value in values]:
        sent.get(timeout=30)
    producer.close()


def consume(bootstrap: str, topic: str) -> list[tuple[bytes, int]]:
    """Everything in the topic now: value and record time in ms."""
    consumer = KafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest", consumer_timeout_ms=2000)
    records = [(record.value, record.timestamp) for record in consumer]
    consumer.close()
    return records


class TestRecords:
    def test_what_is_produced_comes_back(self, bootstrap: str, topics: str) -> None:
        values = [f"{number}".encode() for number in range(100)]
        produce(bootstrap, topics + EVENTS.name, values)
        assert {value for value, _ in consume(bootstrap, topics + EVENTS.name)} == set(values)

    def test_record_time_is_append_time(self, bootstrap: str, topics: str) -> None:
        before = time.time() * 1000
        produce(bootstrap, topics + EVENTS.name, [b"old"], timestamp_ms=1000)
        [(_, stamped)] = consume(bootstrap, topics + EVENTS.name)
        assert before - 1000 <= stamped <= time.time() * 1000 + 1000


class TestTopics:
    def test_making_them_twice_makes_them_once(self, bootstrap: str) -> None:
        names = {f"twice.{topic.name}" for topic in TOPICS}
        first = ensure_topics(bootstrap, "twice.")
        assert (set(first.created), first.kept) == (names, ())
        second = ensure_topics(bootstrap, "twice.")
        assert (second.created, set(second.kept), second.altered) == ((), names, {})
        delete_topics(bootstrap, "twice.")

    def test_a_compacted_event_topic_is_refused_and_nothing_is_made(self, bootstrap: str) -> None:
        with KafkaAdminClient(bootstrap_servers=bootstrap) as admin:
            name = f"lossy.{EVENTS.name}"
            admin.create_topics({name: {"num_partitions": 1, "configs": {"cleanup.policy": "compact"}}})
            admin.wait_for_topics([name])
            with pytest.raises(FatalError, match=r"lossy\.community\.events: cleanup\.policy has compact"):
                ensure_topics(bootstrap, "lossy.")
            assert [topic for topic in admin.list_topics() if topic.startswith("lossy.")] == [name]
            admin.delete_topics([name])

    def test_event_time_as_record_time_is_put_right(self, bootstrap: str, topics: str) -> None:
        name = topics + EVENTS.name
        with KafkaAdminClient(bootstrap_servers=bootstrap) as admin:
            changed = ConfigResource(ConfigResourceType.TOPIC, name, {"message.timestamp.type": "CreateTime"})
            admin.alter_configs([changed])
            report = ensure_topics(bootstrap, topics)
        assert report.altered == {name: {"message.timestamp.type": "LogAppendTime"}}
        assert ensure_topics(bootstrap, topics).altered == {}

    def test_no_broker_is_an_error_that_may_pass(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("pipeline.topics._ADMIN_TIMEOUT_MS", 300)
        with pytest.raises(RetriableError, match=r"no Kafka broker answers at 127\.0\.0\.1:1"):
            ensure_topics("127.0.0.1:1", "x.")


class TestLife:
    def test_a_restart_keeps_data_and_port_and_so_does_a_crash(self, own: EmbeddedBroker) -> None:
        address = own.start().bootstrap
        assert address is not None
        ensure_topics(address, partitions=1)
        produce(address, EVENTS.name, [b"before the restart"])
        assert own.stop()
        assert not own.status().running
        assert own.start().bootstrap == address
        produce(address, EVENTS.name, [b"before the crash"])
        own.kill()
        assert not own.status().running
        assert own.start().bootstrap == address
        values = [value for value, _ in consume(address, EVENTS.name)]
        assert values == [b"before the restart", b"before the crash"]
        assert own.stop()

    def test_two_starters_get_one_broker(self, own: EmbeddedBroker) -> None:
        other = EmbeddedBroker(own.data_dir, own.cache_dir)
        pids: list[int | None] = []
        starters = [threading.Thread(target=lambda one=one: pids.append(one.start().pid)) for one in (own, other)]
        for starter in starters:
            starter.start()
        for starter in starters:
            starter.join()
        assert len(pids) == 2
        assert pids[0] is not None
        assert pids[0] == pids[1]
        assert other.start().pid == pids[0]
        with pytest.raises(FatalError, match="already runs, at port"):
            EmbeddedBroker(own.data_dir, own.cache_dir, port=1).start()

    def test_it_outlives_its_starter_and_anybody_can_stop_it(self, own: EmbeddedBroker) -> None:
        script = (
            "import sys; from pathlib import Path; from pipeline.broker import EmbeddedBroker; "
            "print(EmbeddedBroker(Path(sys.argv[1]), Path(sys.argv[2])).start().pid)"
        )
        command = [sys.executable, "-c", script, str(own.data_dir), str(own.cache_dir)]
        pid = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        status = own.status()
        assert (status.running, status.pid) == (True, pid)
        assert status.uptime_s is not None
        assert os.getsid(pid) == pid  # Ctrl-C in this terminal does not reach it
        assert own.stop()
        assert own.status().uptime_s is None

    def test_a_stranger_with_the_old_pid_is_left_alone(self, own: EmbeddedBroker) -> None:
        own.start()
        pid_file = own.data_dir / "pid"
        ours = pid_file.read_text()
        with subprocess.Popen(["sleep", "60"]) as stranger:
            pid_file.write_text(f"{stranger.pid}\n")
            own.stop()
            own.kill()
            assert stranger.poll() is None
            pid_file.write_text(ours)
            own.kill()
            pid_file.write_text(f"{stranger.pid}\n")  # as a crash leaves it, and the number was given again
            assert not own.status().running
            own.stop()
            assert own.start().pid != stranger.pid
            assert stranger.poll() is None
            stranger.kill()


class TestRefusals:
    def test_a_taken_port_is_named(self, tmp_path: Path) -> None:
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            with pytest.raises(FatalError, match=f"port {port} on 127.0.0.1 is taken"):
                EmbeddedBroker(tmp_path, default_cache_dir(), port).start()

    def test_a_broker_that_dies_at_start_shows_its_log(self, own: EmbeddedBroker) -> None:
        storage = own.data_dir / "kafka"
        storage.mkdir(parents=True)
        (storage / "meta.properties").write_text("version=1\ncluster.id=another\nnode.id=7\n")
        (own.data_dir / "formatted").touch()
        with pytest.raises(FatalError, match=r"exit code 1\. The end of its log") as refusal:
            own.start()
        assert "node id" in str(refusal.value)
        assert len(str(refusal.value).splitlines()) <= 21
        assert not own.status().running

    def test_it_is_gone_if_it_does_not_answer_in_time(self, own: EmbeddedBroker) -> None:
        with pytest.raises(FatalError, match="give it longer"):
            own.start(timeout_s=0.1)
        assert not own.status().running
        assert own.start().running  # and a storage that was interrupted is completed

    def test_a_fetched_jar_with_another_sum_is_refused_and_not_kept(self, tmp_path: Path) -> None:
        wrong = Jar("0" * 64, JSPECIFY.coordinate)
        with pytest.raises(FatalError, match=rf"{JSPECIFY.filename} is not the jar"):
            ensure_jars(tmp_path, jars=[wrong])
        assert not list(tmp_path.glob("**/*.jar"))

    def test_what_an_interrupted_fetch_left_is_not_used(self, tmp_path: Path) -> None:
        half = tmp_path / "fetch-interrupted" / JSPECIFY.filename
        half.parent.mkdir()
        half.write_bytes(b"half a j")
        said: list[str] = []
        [path] = ensure_jars(tmp_path, said.append, jars=[JSPECIFY])
        assert path.stat().st_size > 1000
        assert not half.parent.exists()
        assert said[0].startswith("fetching Kafka 4.3.1: jar 1 of 1")
