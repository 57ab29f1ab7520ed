"""The command line: help that teaches, errors in one line, and no stranger's escapes on the terminal."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from pipeline.cli.main import main
from pipeline.cli.program import app
from pipeline.cli.running import StageName
from pipeline.cli.screen import plain, print_json, shown, table
from pipeline.demo import own_settings
from pipeline.settings import STAGES, Stage
from tests.standins.postgres import PASSWORD, PostgresCluster

COMMANDS = [
    ["demo"],
    ["dry-run"],
    ["evaluate"],
    ["evaluate-backlog"],
    ["evaluate-early"],
    ["evaluate-kinds"],
    ["run"],
    ["migrate"],
    ["publish"],
    ["broker", "start"],
    ["broker", "stop"],
    ["broker", "status"],
    ["status"],
    ["tickets"],
    ["why"],
    ["watch"],
    ["agenda"],
    ["proposals"],
    ["tone"],
    ["tag"],
    ["promote"],
    ["mute"],
    ["not-feedback"],
    ["rename"],
    ["merge"],
    ["separate"],
    ["split"],
    ["undo"],
    ["correct"],
    ["jira", "link"],
    ["jira", "unlink"],
    ["jira", "adopt"],
    ["jira", "retry"],
    ["jira", "preview"],
    ["jira", "check"],
    ["dead", "list"],
    ["dead", "show"],
    ["dead", "retry"],
    ["check"],
    ["rebuild"],
    ["settings"],
    ["bench"],
]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def groundswell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in an empty folder with nothing set; exit code, stdout, stderr."""
    for name in [name for name in os.environ if name.startswith("GROUNDSWELL_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GROUNDSWELL_DATA_DIR", str(tmp_path / "data"))
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}

    def run(*arguments: str, **variables: str) -> tuple[int, str, str]:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as left:
            main(list(arguments))
        for number, handler in before.items():
            signal.signal(number, handler)
        out, err = capsys.readouterr()
        return int(left.value.code or 0), out, err

    return run


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_of_every_command_has_an_example(command: list[str]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0, result.output
    assert f"Example: groundswell {' '.join(command)}" in " ".join(result.output.split())


def test_every_command_is_listed_here() -> None:
    listed = {command[0] for command in COMMANDS}
    names = {command.name for command in app.registered_commands} | {group.name for group in app.registered_groups}
    assert names == listed


def test_stages_are_the_settings_stages() -> None:
    assert tuple(StageName) == STAGES == get_args(Stage)


def test_version(groundswell: Run) -> None:
    code, out, _ = groundswell("--version")
    assert code == 0
    assert re.fullmatch(r"groundswell \S+\n", out)


def test_settings_hide_secrets_and_say_where_each_came_from(groundswell: Run) -> None:
    Path("groundswell.toml").write_text('space = "quillstone"\n[tracker.jira]\ntoken = "s3cret-from-file"\n')
    code, out, err = groundswell(
        "settings",
        GROUNDSWELL_DATABASE__URL="postgresql+asyncpg://me:s3cret-from-env@db/groundswell",
        GROUNDSWELL_POLICY__MIN_PEOPLE="12",
    )
    assert code == 0
    assert "s3cret" not in out + err
    lines = {line.split()[0]: line for line in out.splitlines() if line}
    assert "quillstone" in lines["space"]
    assert lines["space"].rstrip().endswith("groundswell.toml")
    assert lines["policy.min_people"].split() == ["policy.min_people", "12", "GROUNDSWELL_POLICY__MIN_PEOPLE"]
    assert lines["metrics.port"].rstrip().endswith("default")


def test_wrong_settings_are_a_clear_error(groundswell: Run) -> None:
    code, out, err = groundswell("settings", GROUNDSWELL_METRICS__PORT="many")
    assert (code, out) == (1, "")
    assert "metrics.port" in err
    assert "Traceback" not in err


def test_a_stack_trace_only_when_asked_for(groundswell: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError("1/0")

    monkeypatch.setattr("pipeline.settings.Settings.load", broken)
    code, _, err = groundswell("settings")
    assert code == 1
    assert err.startswith("internal error, please report it: ZeroDivisionError: 1/0")
    assert "Traceback" not in err
    monkeypatch.setenv("GROUNDSWELL_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        main(["settings"])


@pytest.mark.parametrize("arguments", [["tickets"], ["why", "1"], ["watch"], ["agenda"], ["status"]], ids=" ".join)
def test_reading_without_a_database_says_what_makes_one(groundswell: Run, arguments: list[str]) -> None:
    code, out, err = groundswell(*arguments)
    assert (code, out) == (1, "")
    assert "groundswell migrate" in err
    assert not Path("data/groundswell.db").exists()


@pytest.mark.parametrize("arguments", [["tag", "1", "x"], ["mute", "1"], ["dead", "list"]], ids=" ".join)
def test_without_a_broker_the_way_to_one_is_named(groundswell: Run, arguments: list[str]) -> None:
    code, _, err = groundswell(*arguments)
    assert code == 1
    assert "groundswell broker start" in err


def test_the_embedded_brokers_commands_keep_away_from_another_broker(groundswell: Run) -> None:
    code, _, err = groundswell("broker", "stop", GROUNDSWELL_KAFKA__BOOTSTRAP="kafka:9092")
    assert code == 1
    assert "kafka:9092" in err


def test_migrate_then_read_an_empty_space(groundswell: Run) -> None:
    assert groundswell("migrate")[0] == 0
    assert "already" in groundswell("migrate")[1]
    code, out, _ = groundswell("tickets", "--json")
    assert (code, json.loads(out)) == (0, [])
    code, out, err = groundswell("status", "--json")
    assert code == 0, err
    assert json.loads(out)["account"]["messages"] == {}
    assert json.loads(out)["broker"] is None
    code, _, err = groundswell("why", "7")
    assert code == 1
    assert "no cluster '7' in space default (it has none yet)" in err


def test_a_server_s_database_is_migrated_by_hand_and_checked(groundswell: Run, postgres: PostgresCluster) -> None:
    name = postgres.create("template0")
    there = {"GROUNDSWELL_DATABASE__URL": postgres.url(name)}
    code, _, err = groundswell("tickets", **there)
    assert code == 1
    assert "is at revision None" in err
    assert "groundswell migrate" in err
    assert "from revision none" in groundswell("migrate")[1]
    assert json.loads(groundswell("tickets", "--json")[1]) == []
    _, out, _ = groundswell("check")
    said = " ".join(out.split())
    assert "with fsync and synchronous_commit off, a crash of the server loses what was acknowledged" in said
    assert "the model serves en" in said
    assert PASSWORD not in out + groundswell("settings")[1]
    code, _, err = groundswell("tickets", GROUNDSWELL_DATABASE__URL=postgres.url(name, password="guessed"))
    assert code == 1
    assert "correct the password" in err
    postgres.drop(name)


def test_check_is_red_with_remedies_where_nothing_was_started(groundswell: Run) -> None:
    code, out, _ = groundswell("check")
    assert code == 1
    assert "→ groundswell broker start" in out
    assert "BAD   database" in out
    assert "ok    model" in out


@pytest.mark.parametrize(
    "arguments",
    [
        ["correct", "discord/1"],
        ["correct", "discord/1", "idea", "--clear"],
        ["correct", "discord/1", "bug"],
        ["undo"],
        ["undo", "c1", "--cluster", "2"],
        ["why"],
        ["why", "1", "--message", "m"],
        ["merge", "1"],
        ["dead", "retry"],
        ["nonsense"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_code_2(groundswell: Run, arguments: list[str]) -> None:
    code, _, err = groundswell(*arguments)
    assert code == 2
    assert "Usage: " in err


def test_ctrl_c_while_the_program_is_still_being_imported_ends_quietly() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", "from pipeline.cli.main import main; print('up', flush=True); main(['settings'])"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, b"", b"")


def test_the_demos_settings_are_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.setenv("GROUNDSWELL_TRACKER__KIND", "jira")
    monkeypatch.setenv("GROUNDSWELL_POLICY__MIN_PEOPLE", "99")
    home = tmp_path / 'a "quoted" \\ folder, ümläut'
    settings = own_settings(home)
    assert (settings.space, settings.data_dir, settings.mode) == ("quillstone", home, "auto")
    assert (settings.tracker.kind, settings.policy.min_people, settings.metrics.port) == ("local", 8, 0)


HOSTILE = {
    "clear screen": "\x1b[2J\x1b[H you are root",
    "title": "\x1b]0;pwned\x07",
    "link": "\x1b]8;;http://evil\x1b\\click\x1b]8;;\x1b\\",
    "C1 control": "\x9b2J",
    "carriage return": "good\rbad",
    "backspace": "rm\x08\x08ls",
    "bidirectional override": "abc\u202etxt.exe",
    "isolate": "\u2066abc\u2069",
    "markup": "[bold red]not bold[/] [link=http://evil]x[/link] \\[x]",
    "broken markup": "[/]",
    "emoji code": ":warning: :skull:",
    "lone surrogate": "half \ud83d emoji",
    "NUL": "a\x00b",
    "line separator": "a\u2028b",
    "tag characters": "a\U000e0041b",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_reaches_the_terminal_as_harmless_characters(text: str) -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, color_system=None, width=200, highlight=False, emoji=False)
    grid = table("text")
    grid.add_row(shown(text))
    console.print(shown(text))
    console.print(grid)
    out = stream.getvalue()
    assert not [char for char in out if char not in "\n" and not char.isprintable()]
    out.encode("utf-8")
    visible = "".join(char for char in text if char.isprintable()).replace(" ", "")
    assert visible in out.replace("\N{REPLACEMENT CHARACTER}", "").replace(" ", "")


@given(st.text(st.characters(exclude_categories=[])))
def test_plain_text_is_printable_and_encodable(text: str) -> None:
    cleaned = plain(text)
    assert all(char.isprintable() or char in "\u200c\u200d" for char in cleaned)
    cleaned.encode("utf-8")
    assert plain(cleaned) == cleaned
    assert len(plain(text, 10)) <= 10


def test_what_people_write_in_their_own_scripts_stays() -> None:
    for text in ("приложение вылетает", "👩‍💻 ☝️ déjà vu", "می‌خواهم", "日本語 ok"):
        assert plain(text) == text


def test_json_output_holds_no_raw_controls(capsys: pytest.CaptureFixture[str]) -> None:
    print_json([*HOSTILE.values(), "\x7f"])
    out = capsys.readouterr().out
    assert out.isascii()
    assert "\x1b" not in out
    assert "\x7f" not in out
    assert json.loads(out)[0] == HOSTILE["clear screen"]
