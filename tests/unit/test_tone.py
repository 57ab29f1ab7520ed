"""The tone of a space over time, from rows written by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert

from pipeline.cli.tone import sparkline
from pipeline.store import schema
from pipeline.store.database import Database
from pipeline.store.tone import smooth, tone

MONDAY = datetime(2026, 3, 2, 12, tzinfo=UTC)
GLAD, ANGRY = [0.1, 0.0, 0.0, 0.9, 0.0], [0.9, 0.0, 0.0, 0.1, 0.0]


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    one = Database(database_url)
    yield one
    await one.close()


async def say(database: Database, *rows: dict[str, Any]) -> None:
    common: dict[str, Any] = {
        "space": "s", "platform": "discord", "revision": MONDAY, "text": "x", "kind": "other", "cues": [], "words": 1,
        "echo": False, "fingerprint": "", "status": "pool", "fits": 0, "cluster_id": None, "reason": None,
    }  # fmt: skip
    async with database.write() as connection:
        filled = [{**common, "message_id": str(n), "seq": n, **row} for n, row in enumerate(rows)]
        await connection.execute(insert(schema.messages), filled)


async def test_each_person_counts_once_a_week_and_others_are_left_out(database: Database) -> None:
    later = MONDAY + timedelta(days=21)
    await say(
        database,
        *({"author": "loud", "kinds": ANGRY, "posted_at": MONDAY + timedelta(hours=n)} for n in range(5)),
        {"author": "calm", "kinds": GLAD, "posted_at": MONDAY + timedelta(days=6), "cluster_id": "a" * 16},
        {"author": "calm", "kinds": GLAD, "posted_at": later},
        {"author": "bot", "kinds": ANGRY, "posted_at": later, "status": "aside", "reason": "raid"},
        {"author": "ru", "kinds": ANGRY, "posted_at": later, "status": "aside", "reason": "language ru"},
        {"author": "", "kinds": ANGRY, "posted_at": later, "status": "erased", "reason": "deleted"},
    )
    weeks = await tone(database, "s", None, "week")
    assert [(one.start, one.people) for one in weeks] == [(date(2026, 3, 2), 2), (date(2026, 3, 23), 1)]
    assert [one.tone for one in weeks] == pytest.approx([0.0, 0.8])
    (of_cluster,) = await tone(database, "s", "a" * 16, "day")
    assert (of_cluster.start, of_cluster.people) == (date(2026, 3, 8), 1)
    assert of_cluster.tone == pytest.approx(0.8)
    assert await tone(database, "other", None, "week") == []


def test_neighbours_lend_half_a_weight() -> None:
    day = date(2026, 3, 2)
    first, second = smooth({day: [1.0, 1.0], day + timedelta(days=1): [0.0]}, timedelta(days=1))
    assert (first.plain, second.plain) == (1.0, 0.0)
    assert first.tone == pytest.approx(4 / 5)
    assert second.tone == pytest.approx(2 / 4)
    assert second.high - second.tone > first.high - first.tone


@given(
    st.dictionaries(
        st.dates(date(2020, 1, 1), date(2020, 3, 1)),
        st.lists(st.floats(-1, 1), min_size=1, max_size=5),
        max_size=12,
    )
)
def test_band_holds_the_tone_and_order_is_of_time(values: dict[date, list[float]]) -> None:
    found = smooth(values, timedelta(days=1))
    assert [one.start for one in found] == sorted(values)
    assert all(-1 <= one.low <= one.tone + 1e-9 and one.tone - 1e-9 <= one.high <= 1 for one in found)


def test_sparkline() -> None:
    assert sparkline([-0.5, 0.0, 0.5]) == "▁▅█"
    assert sparkline([0.2, 0.2]) == "▄▄"
