"""Known groups planted into chatter: where and by whom, and what is counted."""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import FatalError
from pipeline.evaluation.planted import GROUPS, LONGEST, MESSAGES, Garden, Said, harvest, plant
from pipeline.evaluation.planting import read_chatter, read_groups, run_planted
from pipeline.records import MessageRef
from pipeline.settings import ClusterSettings, PolicySettings, Settings
from pipeline.store.assignments import Assignment
from pipeline.tried import Tried, TriedTicket
from tests.standins.readers import word_reader
from tests.unit.test_dry_run import word, written

T0 = datetime(2020, 1, 1, tzinfo=UTC)


def soil(count: int = 600) -> list[Said]:
    rng = random.Random(1)
    return [
        Said(f"s{n}", f"{word(rng)} {word(rng)}", T0 + timedelta(days=rng.uniform(0, 300)), f"u{n % 50}", f"p{n % 2}")
        for n in range(count)
    ]


def groups() -> dict[str, list[str]]:
    rng = random.Random(2)
    return {f"g{n:02d}": [f"topic{n} is broken {word(rng)}" for _ in range(20)] for n in range(GROUPS + 5)}


def test_each_group_is_a_burst_of_some_weeks_by_people_who_are_new() -> None:
    garden = plant(soil(), groups(), seed=3)
    own: defaultdict[str, list[Said]] = defaultdict(list)
    for one in garden.messages:
        if one.id in garden.gold:
            own[garden.gold[one.id]].append(one)
    assert len(own) == GROUPS
    assert {len(messages) for messages in own.values()} == {MESSAGES}
    assert all(max(m.at for m in ms) - min(m.at for m in ms) <= LONGEST for ms in own.values())
    assert all(10 <= len({m.author for m in ms}) <= MESSAGES for ms in own.values())
    assert len({m.author for ms in own.values() for m in ms} & {one.author for one in soil()}) == 0
    starts = [min(m.at for m in ms) for ms in own.values()]
    assert max(starts) - min(starts) > timedelta(days=150)
    times = [one.at for one in garden.messages]
    assert times == sorted(times)
    assert len(times) == 600 + GROUPS * MESSAGES


def test_the_seed_says_it_all() -> None:
    assert plant(soil(), groups(), seed=3) == plant(soil(), groups(), seed=3)
    assert plant(soil(), groups(), seed=3) != plant(soil(), groups(), seed=4)


def test_what_cannot_be_planted_is_refused() -> None:
    with pytest.raises(FatalError, match="39 groups"):
        plant(soil(), dict(list(groups().items())[: GROUPS - 1]), seed=0)
    with pytest.raises(FatalError, match="span less than 42 days"):
        plant([one for one in soil() if one.at < T0 + timedelta(days=20)], groups(), seed=0)


def ticket(cluster_id: str, ids: list[str], after: int) -> TriedTicket:
    members = tuple(MessageRef("p", one) for one in ids)
    return TriedTicket(
        cluster_id, "complaint", "s", "d", T0, members[-1], after, len(ids), len(ids), ("p",), "r", members, cluster_id
    )


def test_tickets_are_told_apart_and_the_missed_named() -> None:
    garden = Garden([], {f"planted-{g}-{n}": g for g in "ab" for n in range(10)})
    ids = [*garden.gold, *(f"s{n}" for n in range(20))]
    places = {f"planted-a-{n}": "A" for n in range(10)} | {f"s{n}": "S" for n in range(10)}
    assignments = [
        Assignment(
            MessageRef("p", one), places.get(one), "idea", "clustered" if one in places else "aside",
            None if one in places else "chatter",
        )
        for one in ids
    ]  # fmt: skip
    tickets = [
        ticket("A", [f"planted-a-{n}" for n in range(8)], 8),
        ticket("S", [*(f"s{n}" for n in range(8)), "planted-b-0"], 30),
    ]
    found = harvest(garden, Tried(tickets, assignments, []), threshold=10, seed=0, seconds=1.0)
    assert (found.planted.ticket_f1, found.planted.precision, found.planted.recall) == (2 / 3, 1.0, 0.5)
    assert found.all_tickets_f1 == 2 / 4
    assert [one.cluster_id for one in found.others] == ["S"]
    assert found.others_per_10k == 10_000 / 40
    (missed,) = found.missed
    assert (missed.group, missed.clustered, missed.aside, missed.kinds) == ("b", 0, {"chatter": 10}, {"idea": 10})


def test_a_dry_run_over_what_was_planted_finds_it(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [one.row() for one in soil(300)]
    rows += [{"text": "no id or time"}, {"id": "x", "time": "2020-01-01", "text": ""}]
    chatter = written(tmp_path / "c.jsonl", rows)
    data = written(tmp_path / "d.jsonl", [{"text": text, "label": g} for g, own in groups().items() for text in own])
    settings = Settings(
        clusters=ClusterSettings(first_fit=40, fit_min_new=20, fit_growth=0.1, all_kinds=True),
        policy=PolicySettings(min_people=6, kinds=("complaint", "idea", "question", "praise", "other", "unsure")),
    )
    ((found, left_out),) = run_planted(data, chatter, settings, word_reader(), threshold=10, seeds=1)
    assert left_out == {"lines without id or time": 1, "lines without a text": 1}
    assert found.messages == 300 + GROUPS * MESSAGES
    assert found.planted.groups == GROUPS
    assert found.planted.recall > 0.7
    assert found.planted.pure_at_opening > 0.9
    assert found.others == []
    assert len(found.missed) == GROUPS - round(found.planted.recall * GROUPS)


def test_repeated_texts_of_a_group_are_one(tmp_path: Path) -> None:
    rows = [{"text": "same", "label": "g"}, {"text": "same", "label": "g"}, {"text": "x"}]
    left_out: Counter[str] = Counter()
    assert read_groups(written(tmp_path / "d.jsonl", rows), left_out) == {"g": ["same"]}
    line = {"id": 7, "text": "t", "time": "2020-01-01", "user": "u"}
    (one,) = read_chatter(written(tmp_path / "c.jsonl", [line]), left_out)
    assert (one.id, one.author, one.source, one.at) == ("7", "u", "archive", T0)
    assert json.dumps(one.row())
