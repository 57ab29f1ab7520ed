"""Watches of a dry run: they begin before the ticket, by the rule that runs live, and nothing is passed over."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.dry_run import DryRun
from pipeline.lookout import Lookout
from pipeline.settings import Settings
from pipeline.trial_files import write_files
from tests.unit.test_dry_run import TOPICS, run, settings_of, word, written

T0 = datetime(2026, 1, 1, tzinfo=UTC)
BURST = T0 + timedelta(days=24)


def history() -> list[dict[str, Any]]:
    """Return 30 days of six topics, each said every other day; on day 24 sixteen people come with one of them."""
    rng = random.Random(4)
    said = [
        (T0 + timedelta(days=rng.uniform(0, 30)), f"{topic} does not work on my machine {word(rng)}")
        for topic in TOPICS
        for _ in range(12)
    ]
    said += [
        (BURST + timedelta(minutes=40 * n), f"{TOPICS[2]} does not work on my machine {word(rng)}") for n in range(16)
    ]
    return [
        {"id": f"m{number}", "text": text, "time": at.isoformat()} for number, (at, text) in enumerate(sorted(said))
    ]


def settings(**watch: Any) -> Settings:
    base = settings_of(watch=watch)
    return base.model_copy(update={"policy": base.policy.model_copy(update={"min_people": 30})})


@pytest.fixture(scope="module")
def burst(tmp_path_factory: pytest.TempPathFactory) -> DryRun:
    return run(written(tmp_path_factory.mktemp("a") / "a.jsonl", history()), settings())


def test_a_burst_is_on_watch_once_while_it_is_no_ticket_and_the_file_says_so(burst: DryRun, tmp_path: Path) -> None:
    (watch,) = burst.tried.watches
    assert BURST < watch.at < BURST + timedelta(hours=11)
    assert watch.recent >= 4
    assert watch.expected < 2
    assert TOPICS[2] in watch.quotes[0]

    write_files(tmp_path, burst.tried)
    (row,) = [json.loads(line) for line in (tmp_path / "watches.jsonl").read_text().splitlines()]
    assert row["cluster_id"] == watch.cluster_id
    assert (row["at"], row["recent"], row["reason"]) == (watch.at.isoformat(), watch.recent, watch.reason)
    assert "no ticket yet" in row["reason"]


def test_without_watches_in_the_settings_there_are_none(tmp_path: Path) -> None:
    assert run(written(tmp_path / "a.jsonl", history()), settings(false_alarms=0)).tried.watches == []


def test_the_cheap_question_hides_no_watch(burst: DryRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked about every cluster after every message, the sink sees the same."""
    asked = []

    def always(_: Lookout, cluster_id: str) -> bool:
        asked.append(cluster_id)
        return True

    monkeypatch.setattr(Lookout, "may_rise", always)
    every = run(written(tmp_path / "a.jsonl", history()), settings())
    assert len(asked) > 50
    assert every.tried.watches == burst.tried.watches


def test_a_watch_does_not_keep_a_ticket_waiting(tmp_path: Path) -> None:
    """Enough people open it, though the watch that is on lasts a day."""
    base = settings()
    many = base.model_copy(update={"policy": base.policy.model_copy(update={"min_people": 18})})
    tried = run(written(tmp_path / "a.jsonl", history()), many).tried
    (watch,) = [one for one in tried.watches if TOPICS[2] in one.quotes[0]]
    (ticket,) = [one for one in tried.tickets if one.cluster_id == watch.cluster_id]
    assert watch.at < ticket.opened_at < BURST + timedelta(hours=11)
