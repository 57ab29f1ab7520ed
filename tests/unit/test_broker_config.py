"""The pure parts of the embedded broker: texts, ports, the jars' lock, the audit of topics."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline import broker_config as config
from pipeline.broker_jars import Jar, ensure_jars, locked_jars, parse_lock
from pipeline.broker_process import command_line, is_locked, open_lock, try_lock
from pipeline.errors import FatalError
from pipeline.topics import CHECKPOINTS, DEAD, EVENTS, SIGNALS, TOPICS, audit, delete_topics

PORTS = config.Ports(clients=20001, controller=20002)


def jar_in(folder: Path, content: bytes = b"the jar that was tested") -> Jar:
    """A jar file in `folder`, with the lock's entry for it."""
    jar = Jar(hashlib.sha256(content).hexdigest(), "org.example:tool:1.0")
    (folder / jar.filename).write_bytes(content)
    return jar


class TestSettings:
    def test_it_listens_on_this_machine_only(self) -> None:
        settings = config.server_properties(PORTS)
        addresses = settings["listeners"].split(",") + settings["advertised.listeners"].split(",")
        assert {address.split("://")[1].split(":")[0] for address in addresses} == {"127.0.0.1"}

    def test_what_must_not_be_left_to_defaults(self) -> None:
        settings = config.server_properties(PORTS)
        assert settings["log.message.timestamp.type"] == "LogAppendTime"
        assert settings["auto.create.topics.enable"] == "false"
        assert int(settings["message.max.bytes"]) > max(topic.max_message_bytes for topic in TOPICS)
        assert all(value == "1" for key, value in settings.items() if key.endswith((".factor", ".isr")))

    def test_properties_are_plain_lines(self) -> None:
        text = config.properties_text(config.server_properties(PORTS))
        assert text.isascii()
        assert "listeners=PLAINTEXT://127.0.0.1:20001,CONTROLLER://127.0.0.1:20002\n" in text

    def test_nothing_is_logged_to_the_console_and_files_are_bounded(self) -> None:
        assert "Console" not in config.LOG4J2_PROPERTIES
        assert "SizeBasedTriggeringPolicy" in config.LOG4J2_PROPERTIES

    def test_cluster_ids_are_sixteen_bytes_and_differ(self) -> None:
        ids = {config.new_cluster_id() for _ in range(500)}
        assert len(ids) == 500
        assert all(len(base64.urlsafe_b64decode(f"{one}==")) == 16 for one in ids)
        assert not any(one.startswith("-") for one in ids)


class TestPorts:
    def test_remembered_ports_come_back(self, tmp_path: Path) -> None:
        config.write_ports(tmp_path / "ports.json", PORTS)
        assert config.read_ports(tmp_path / "ports.json") == PORTS

    @pytest.mark.parametrize("content", ["", "[]", "{}", '{"clients": 1}', "half a fi"])
    def test_a_broken_file_is_no_memory(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "ports.json").write_text(content)
        assert config.read_ports(tmp_path / "ports.json") is None

    def test_a_taken_port_is_refused_if_asked_for_and_replaced_if_not(self) -> None:
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            taken = other.getsockname()[1]
            assert config.choose_ports(taken, None) is None
            chosen = config.choose_ports(None, config.Ports(clients=taken, controller=taken))
        assert chosen is not None
        assert taken not in (chosen.clients, chosen.controller)
        assert chosen.clients != chosen.controller

    def test_free_last_ports_are_taken_again(self) -> None:
        last = config.choose_ports(None, None)
        assert config.choose_ports(None, last) == last

    def test_chosen_ports_are_never_a_client_s_own(self) -> None:
        chosen = config.choose_ports(None, None)
        assert chosen is not None
        assert max(chosen.clients, chosen.controller) < 32768


class TestJars:
    def test_the_lock_has_the_tested_versions(self) -> None:
        names = [jar.filename for jar in locked_jars()]
        assert len(names) == len(set(names)) == 46
        assert {"kafka_2.13-4.3.1.jar", "kafka-clients-4.3.1.jar", "log4j-slf4j-impl-2.25.4.jar"} <= set(names)
        assert all(len(jar.sha256) == 64 for jar in locked_jars())

    def test_a_lock_line(self) -> None:
        assert parse_lock("ab  org.example:tool:1.0\n\n") == (Jar("ab", "org.example:tool:1.0"),)

    def test_a_changed_jar_is_refused_by_name_with_both_sums_and_a_remedy(self, tmp_path: Path) -> None:
        jar = jar_in(tmp_path)
        assert ensure_jars(tmp_path, jars=[jar]) == (tmp_path / "tool-1.0.jar",)
        (tmp_path / jar.filename).write_bytes(b"something else")
        with pytest.raises(FatalError) as refusal:
            ensure_jars(tmp_path, jars=[jar])
        found = hashlib.sha256(b"something else").hexdigest()
        for part in ("tool-1.0.jar", jar.sha256, found, f"Delete {tmp_path / jar.filename}"):
            assert part in str(refusal.value)

    def test_a_verified_jar_is_not_read_again_until_it_changes(self, tmp_path: Path) -> None:
        jar = jar_in(tmp_path)
        ensure_jars(tmp_path, jars=[jar])
        path = tmp_path / jar.filename
        stat = path.stat()
        path.write_bytes(b"THE JAR THAT WAS TESTED")
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        ensure_jars(tmp_path, jars=[jar])  # same size and time: the stated limit of the cheap check
        os.utime(path)
        with pytest.raises(FatalError, match="not the jar"):
            ensure_jars(tmp_path, jars=[jar])

    def test_a_new_lock_is_not_satisfied_by_an_old_verification(self, tmp_path: Path) -> None:
        jar = jar_in(tmp_path)
        ensure_jars(tmp_path, jars=[jar])
        with pytest.raises(FatalError, match="not the jar"):
            ensure_jars(tmp_path, jars=[Jar("0" * 64, jar.coordinate)])


class TestLock:
    def test_held_until_closed_and_asking_does_not_take_it(self, tmp_path: Path) -> None:
        path = tmp_path / "lock"
        assert not is_locked(path)
        with open_lock(path) as mine, open_lock(path) as other:
            assert not is_locked(path)
            assert try_lock(mine)
            assert is_locked(path)
            assert not try_lock(other)
        assert not is_locked(path)

    def test_command_lines(self) -> None:
        assert "python" in command_line(os.getpid())
        assert command_line(2**22 + 1) == ""


class TestTopics:
    def test_no_topic_that_faust_reads_is_compacted(self) -> None:
        assert [topic.name for topic in TOPICS if topic.settings()["cleanup.policy"] == "compact"] == [
            "connector.checkpoints"
        ]

    def test_retention_as_designed(self) -> None:
        assert EVENTS.settings()["retention.ms"] == SIGNALS.settings()["retention.ms"] == "604800000"
        assert DEAD.retention == timedelta(days=14)
        assert "retention.ms" not in CHECKPOINTS.settings()

    def test_settings_as_in_the_table_are_in_order(self) -> None:
        for topic in TOPICS:
            found = {"retention.ms": "604800000", "retention.bytes": "-1"} | topic.settings()
            assert audit(topic, found).losses == ()
            assert audit(topic, found).to_alter == {}

    @pytest.mark.parametrize(
        ("changed", "told"),
        [
            ({"cleanup.policy": "compact"}, "has compact"),
            ({"cleanup.policy": "compact,delete"}, "has compact"),
            ({"retention.ms": "3600000"}, "retention.ms is 3600000, below 604800000"),
            ({"retention.bytes": "1000000"}, "retention.bytes is 1000000"),
        ],
    )
    def test_losses_are_told(self, changed: dict[str, str], told: str) -> None:
        found = EVENTS.settings() | {"retention.bytes": "-1"} | changed
        assert [told in loss for loss in audit(EVENTS, found).losses] == [True]

    def test_longer_and_endless_retention_loses_nothing(self) -> None:
        for retention in ("-1", "999999999999"):
            found = EVENTS.settings() | {"retention.bytes": "-1", "retention.ms": retention}
            assert audit(EVENTS, found).losses == ()

    def test_cursors_must_be_compacted(self) -> None:
        found = CHECKPOINTS.settings() | {"cleanup.policy": "delete"}
        assert "forgets cursors" in audit(CHECKPOINTS, found).losses[0]

    def test_what_loses_nothing_is_put_right(self) -> None:
        found = EVENTS.settings() | {
            "retention.bytes": "-1",
            "message.timestamp.type": "CreateTime",
            "max.message.bytes": "1000",
        }
        assert audit(EVENTS, found).to_alter == {
            "message.timestamp.type": "LogAppendTime",
            "max.message.bytes": "262144",
        }

    def test_real_topics_are_never_deleted(self) -> None:
        with pytest.raises(FatalError, match="real ones"):
            delete_topics("127.0.0.1:1", "")
