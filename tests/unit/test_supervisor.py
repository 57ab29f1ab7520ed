"""The supervisor with real child processes: what is restarted, what ends, and that nothing stays behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.child_log import BoundedLog, Tail
from pipeline.errors import FatalError
from pipeline.health import Health, HealthServer
from pipeline.running import metrics_folder, only_one
from pipeline.supervisor import StageStatus, Supervisor

WAIT_S = 20.0
SLEEP = "import time; time.sleep(600)"


def python(script: str) -> Callable[[str], list[str]]:
    return lambda stage: [sys.executable, "-c", textwrap.dedent(script), stage]


def lives(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.02)


def pids(supervisor: Supervisor) -> list[int]:
    return [status.pid for status in supervisor.status() if status.pid is not None]


async def test_a_stage_that_ends_itself_is_started_again(tmp_path: Path) -> None:
    script = """
        import pathlib, sys, time
        log = pathlib.Path(sys.argv[2]); log.open("a").write("x")
        if len(log.read_text()) < 3: sys.exit(70)
        time.sleep(600)
    """
    count = tmp_path / "count"
    supervisor = Supervisor(["embed"], command=lambda s: [*python(script)(s), str(count)], back_off_s=(0.01, 0.02))
    running = asyncio.create_task(supervisor.run())
    await until(lambda: count.exists() and len(count.read_text()) == 3)
    status = supervisor.status()[0]
    assert (status.restarts, status.last_exit) == (2, 70)
    pid = status.pid
    assert pid is not None
    supervisor.stop()
    await running
    assert not lives(pid)
    assert supervisor.status()[0].pid is None


async def test_the_waits_between_restarts_grow_and_are_capped() -> None:
    waits = (0.05, 0.1, 0.2)
    supervisor = Supervisor(["embed"], command=python("raise SystemExit(1)"), back_off_s=waits)
    began = time.monotonic()
    running = asyncio.create_task(supervisor.run())
    await until(lambda: supervisor.status()[0].restarts == 4)
    assert time.monotonic() - began >= 0.05 + 0.1 + 0.2 + 0.2
    supervisor.stop()
    await running


async def test_all_done_ends_the_run() -> None:
    supervisor = Supervisor(["embed", "file"], command=python("pass"))
    await asyncio.wait_for(supervisor.run(), WAIT_S)
    assert [status.restarts for status in supervisor.status()] == [0, 0]


async def test_a_fatal_stage_stops_all_and_its_message_is_raised(tmp_path: Path) -> None:
    script = f"""
        import pathlib, sys, time
        mine, other = (pathlib.Path({str(tmp_path)!r}) / name for name in (sys.argv[1], "embed"))
        if sys.argv[1] == "embed":
            import os; mine.write_text(str(os.getpid())); time.sleep(600)
        while not other.exists() or not other.read_text(): time.sleep(0.01)
        print("2026-01-01 INFO something", file=sys.stderr)
        print("cluster: the database is at revision 1,\\nrun `groundswell migrate`", file=sys.stderr)
        sys.exit(78)
    """
    supervisor = Supervisor(["embed", "cluster"], command=python(script), logs=tmp_path / "logs")
    with pytest.raises(FatalError) as raised:
        await asyncio.wait_for(supervisor.run(), WAIT_S)
    expected = "stage cluster cannot go on: the database is at revision 1,\nrun `groundswell migrate`"
    assert str(raised.value) == expected
    assert not lives(int((tmp_path / "embed").read_text()))
    assert "2026-01-01 INFO something" in (tmp_path / "logs" / "cluster.log").read_text()


async def test_a_stage_that_ignores_sigterm_is_killed_after_the_grace() -> None:
    script = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    )
    supervisor = Supervisor(["embed"], command=python(script), grace_s=0.3)
    running = asyncio.create_task(supervisor.run())
    await until(lambda: bool(pids(supervisor)))
    pid = pids(supervisor)[0]
    await until(lambda: _ignores_sigterm(pid))
    supervisor.stop()
    await asyncio.wait_for(running, WAIT_S)
    assert not lives(pid)
    assert supervisor.status()[0].last_exit == -signal.SIGKILL


def _ignores_sigterm(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    ignored = next(line for line in status.splitlines() if line.startswith("SigIgn"))
    return bool(int(ignored.split()[1], 16) & (1 << (signal.SIGTERM - 1)))


async def test_cancelling_leaves_no_child_and_helpers_end_with_their_stage(tmp_path: Path) -> None:
    script = f"""
        import pathlib, subprocess, sys, time
        helper = subprocess.Popen([sys.executable, "-c", {SLEEP!r}])
        pathlib.Path({str(tmp_path)!r}, "helper").write_text(str(helper.pid))
        time.sleep(600)
    """
    supervisor = Supervisor(["cluster"], command=python(script))
    running = asyncio.create_task(supervisor.run())
    helper = tmp_path / "helper"
    await until(lambda: helper.exists() and helper.read_text() != "")
    child = pids(supervisor)[0]
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await until(lambda: not lives(child) and not lives(int(helper.read_text())))


async def test_a_stage_leads_a_process_group_so_that_ctrl_c_reaches_only_the_parent() -> None:
    supervisor = Supervisor(["embed"], command=python(SLEEP))
    running = asyncio.create_task(supervisor.run())
    await until(lambda: bool(pids(supervisor)))
    pid = pids(supervisor)[0]
    assert os.getpgid(pid) == pid != os.getpgrp()
    supervisor.stop()
    await running


def test_children_and_their_helpers_end_when_the_parent_is_killed(tmp_path: Path) -> None:
    child = f"""
        import os, pathlib, subprocess, sys, time
        from pipeline.lifeline import end_with_parent
        end_with_parent()
        helper = subprocess.Popen([sys.executable, "-c", {SLEEP!r}])
        pathlib.Path({str(tmp_path)!r}, sys.argv[1]).write_text(f"{{os.getpid()}} {{helper.pid}}")
        time.sleep(600)
    """
    parent = f"""
        import asyncio, sys, textwrap
        from pipeline.supervisor import Supervisor
        child = textwrap.dedent({child!r})
        asyncio.run(Supervisor(["embed", "file"], command=lambda s: [sys.executable, "-c", child, s]).run())
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(parent)])
    files = [tmp_path / "embed", tmp_path / "file"]
    deadline = time.monotonic() + WAIT_S
    while not all(file.exists() and file.read_text() for file in files):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    family = [int(pid) for file in files for pid in file.read_text().split()]
    assert all(lives(pid) for pid in family)
    process.kill()
    process.wait()
    while any(lives(pid) for pid in family):
        assert time.monotonic() < deadline, "a child outlived its parent"
        time.sleep(0.02)


async def test_counters_survive_a_restart_and_the_parent_serves_them(tmp_path: Path) -> None:
    script = """
        import pathlib, sys, time
        from pipeline import metrics
        metrics.RECORDS_IN.labels("embed").inc(5)
        metrics.HEARTBEAT.labels("embed").set(time.time())
        once = pathlib.Path(sys.argv[2])
        if not once.exists():
            once.touch(); sys.exit(70)
        print("second", flush=True); once.write_text("second"); time.sleep(600)
    """
    once = tmp_path / "once"
    with metrics_folder(tmp_path) as folder:
        supervisor = Supervisor(
            ["embed"], command=lambda s: [*python(script)(s), str(once)], metrics_dir=folder, back_off_s=(0.01,)
        )
        running = asyncio.create_task(supervisor.run())
        await until(lambda: once.exists() and once.read_text() == "second")
        server = HealthServer(Health(folder, supervisor.status), "127.0.0.1", 0)
        status, text = await asyncio.to_thread(get, f"{server.url}/metrics")
        assert status == 200
        assert 'groundswell_records_in_total{stage="embed"} 10.0' in text
        assert 'groundswell_stage_restarts{stage="embed"} 1.0' in text
        status, text = await asyncio.to_thread(get, f"{server.url}/healthz")
        health = json.loads(text)
        assert (status, health["ok"], health["stages"]["embed"]["restarts"]) == (200, True, 1)
        assert health["stages"]["embed"]["heartbeat_age_s"] < WAIT_S
        supervisor.stop()
        await running
        status, text = await asyncio.to_thread(get, f"{server.url}/healthz")
        assert (status, json.loads(text)["ok"]) == (503, False)
        server.close()
    assert not folder.exists()


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as exc:
        return exc.code, exc.read().decode()


def test_a_taken_port_is_an_error_with_its_remedy(tmp_path: Path) -> None:
    health = Health(tmp_path, list)
    server = HealthServer(health, "127.0.0.1", 0)
    port = int(server.url.rpartition(":")[2])
    with pytest.raises(FatalError, match=rf"127.0.0.1:{port}: Address already in use.*GROUNDSWELL_METRICS__PORT"):
        HealthServer(health, "127.0.0.1", port)
    server.close()


@pytest.mark.parametrize(
    ("age_s", "lived_s", "up"),
    [
        (1.0, 600.0, True),
        (90.0, 600.0, False),
        (None, 30.0, True),
        (None, 600.0, False),
        (40.0, 30.0, True),
    ],
    ids=["fresh", "silent", "still loading", "never came up", "old heartbeat of the process before"],
)
def test_health_of_a_stage(tmp_path: Path, age_s: float | None, lived_s: float, *, up: bool) -> None:
    now = time.time()
    if age_s is not None:
        script = f"from pipeline import metrics; metrics.HEARTBEAT.labels('embed').set({now - age_s})"
        environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
        subprocess.run([sys.executable, "-c", script], env=environment, check=True)
    health = Health(tmp_path, lambda: [StageStatus("embed", 1, now - lived_s, 0, None)])
    assert health.stages()["embed"].up is up


def test_a_crashed_parents_metrics_are_removed_and_a_living_ones_kept(tmp_path: Path) -> None:
    stale = tmp_path / "metrics" / "run-stale"
    stale.mkdir(parents=True)
    (stale / "lock").touch()
    with metrics_folder(tmp_path) as first, metrics_folder(tmp_path) as second:
        assert first != second
        assert first.exists()
        assert not stale.exists()


def test_only_one_at_a_time(tmp_path: Path) -> None:
    with (
        held_elsewhere(tmp_path / "lock"),
        pytest.raises(FatalError, match="runs already"),
        only_one(tmp_path / "lock", "it runs already"),
    ):
        pass
    with only_one(tmp_path / "lock", "it runs already"):
        pass


@contextmanager
def held_elsewhere(path: Path) -> Iterator[None]:
    script = (
        "import sys, pathlib\nfrom pipeline.running import only_one\n"
        f"with only_one(pathlib.Path({str(path)!r}), ''):\n  print('held', flush=True)\n  sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield
        process.communicate()


def test_a_log_is_bounded_and_keeps_its_newest_lines(tmp_path: Path) -> None:
    log = BoundedLog(tmp_path / "embed.log", max_bytes=100)
    for number in range(50):
        log.write(f"line {number:02}\n".encode())
    log.close()
    assert (tmp_path / "embed.log").stat().st_size <= 100
    assert (tmp_path / "embed.log.1").stat().st_size <= 100
    assert (tmp_path / "embed.log").read_text().endswith("line 49\n")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([b"INFO x\n", b"file: no such project\n"], "no such project"),
        ([b"file: first\n", b"file: set jira.url\n", b"and jira.token\n"], "set jira.url\nand jira.token"),
        ([b"Killed\n"], "Killed"),
        ([], "it wrote nothing"),
    ],
)
def test_last_words(lines: list[bytes], words: str) -> None:
    tail = Tail()
    for line in lines:
        tail.add(line)
    assert tail.last_words("file") == words
