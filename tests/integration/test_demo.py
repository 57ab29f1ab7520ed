"""`groundswell demo` as a person runs it: interrupted, resumed, run again."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

START_S = 200.0
"""Until the first messages are read: the model is loaded, perhaps on cores that others use too."""
WHOLE_S = 300.0
CLEAN_S = 15.0
Start = Callable[[Path], subprocess.Popen[str]]
GROUNDSWELL = [sys.executable, "-m", "pipeline.cli.main"]


def environment(**variables: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GROUNDSWELL_")}
    return {**inherited, "PYTHONUNBUFFERED": "1", **variables}


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a demo as the leader of a group, as a terminal's shell does; a test that fails leaves none behind."""
    started: list[subprocess.Popen[str]] = []

    def begin(home: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*GROUNDSWELL, "demo", "--data-dir", str(home)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(),
            start_new_session=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
            process.communicate(timeout=CLEAN_S + 30)


def strays(home: Path) -> list[str]:
    """Return the command lines of living processes that name `home` in their arguments or environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        if process.name == str(os.getpid()):
            continue
        try:
            told = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if os.fsencode(home) in told:
            found.append((process / "cmdline").read_text(errors="replace").replace("\0", " "))
    return found


def tickets(home: Path) -> list[dict[str, Any]]:
    configured = environment(GROUNDSWELL_CONFIG=str(home / "groundswell.toml"))
    answer = subprocess.run(
        [*GROUNDSWELL, "tickets", "--json"], capture_output=True, text=True, env=configured, check=True
    )
    found: list[dict[str, Any]] = json.loads(answer.stdout)
    return found


def clean(output: str) -> None:
    """No library's log line, no trace."""
    assert "Traceback" not in output
    assert not re.search(r"\b(ERROR|WARNING|INFO|DEBUG|CRITICAL)\b", output), output
    assert "\x1b" not in output


@pytest.mark.timeout(2 * WHOLE_S + 2 * START_S)
def test_demo_interrupted_resumed_and_run_again(tmp_path: Path, start: Start) -> None:
    home = tmp_path / "a demo"

    process = start(home)
    assert process.stdout is not None
    said = ""
    deadline = time.monotonic() + START_S
    while not re.search(r"embedded [1-9]", said):
        line = process.stdout.readline()
        assert line, said
        assert time.monotonic() < deadline, said
        said += line
    interrupted = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    rest, _ = process.communicate(timeout=CLEAN_S)
    assert (process.returncode, time.monotonic() - interrupted < CLEAN_S) == (130, True), said + rest
    clean(said + rest)
    assert strays(home) == []

    process = start(home)
    output, _ = process.communicate(timeout=WHOLE_S)
    assert process.returncode == 0, output
    clean(output)
    assert strays(home) == []
    first = tickets(home)
    assert len(first) >= 5
    assert {ticket["kind"] for ticket in first} == {"complaint", "idea"}
    assert all(ticket["state"] == "open" and ticket["people"] >= 8 for ticket in first)
    assert all(ticket["key"] in output for ticket in first)
    assert f"GROUNDSWELL_CONFIG={home / 'groundswell.toml'}" in output.replace("'", "")

    process = start(home)
    output, _ = process.communicate(timeout=WHOLE_S)
    assert process.returncode == 0, output
    clean(output)
    assert strays(home) == []
    assert {(one["key"], one["cluster_id"]) for one in tickets(home)} == {
        (one["key"], one["cluster_id"]) for one in first
    }

    configured = environment(GROUNDSWELL_CONFIG=str(home / "groundswell.toml"))
    run = [*GROUNDSWELL, "status", "--json"]
    answer = subprocess.run(run, capture_output=True, text=True, env=configured, check=True)
    account = json.loads(answer.stdout)["account"]
    assert sum(account["messages"].values()) >= 800
    assert account["unmatched"] == 0


def test_a_second_demo_in_the_same_folder_is_refused(tmp_path: Path, start: Start) -> None:
    first = start(tmp_path / "demo")
    lock = tmp_path / "demo" / "lock"
    deadline = time.monotonic() + START_S
    while not lock.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.2)
    second = start(tmp_path / "demo")
    output, _ = second.communicate(timeout=START_S)
    assert (second.returncode, "runs in" in output) == (1, True), output
    os.killpg(first.pid, signal.SIGINT)
    output, _ = first.communicate(timeout=CLEAN_S + 30)
    assert first.returncode == 130, output
    assert strays(tmp_path / "demo") == []
