"""A dry run of far too much of the same: in bounded time."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

from pipeline.dry_run import dry_run, for_all_kinds
from pipeline.settings import ClusterSettings, PolicySettings, Settings
from tests.standins.readers import word_reader


@pytest.mark.timeout(240)
def test_a_hundred_thousand_copies_of_one_text(tmp_path: Path) -> None:
    rows = ({"id": str(n), "text": "login broken", "time": 1_600_000_000 + 60 * n} for n in range(100_000))
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = for_all_kinds(Settings(clusters=ClusterSettings(), policy=PolicySettings(min_people=6)))
    began = time.monotonic()
    tried = asyncio.run(dry_run(settings, path, word_reader())).tried
    assert time.monotonic() - began < 220
    assert len(tried.assignments) == 100_000
    assert len(tried.tickets) <= 1
