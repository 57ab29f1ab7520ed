"""How early: lead times and IDEA's measure, on a small history that can be counted by hand."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.evaluation.early import Message, Sign, aligned, measure, measure_dry_run, stems

T0 = datetime(2015, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def history() -> tuple[list[Message], dict[str, str | None]]:
    """Return 60 messages of each of two versions, 30 days apart, in two clusters of 20 and the rest in none."""
    messages, assignments = [], {}
    for version, start in (("1.9", T0), ("1.10", T0 + 30 * DAY)):
        for number in range(60):
            own = f"{version}-{number}"
            text = ("group icons are missing again", "the call screen stays black", "nice little app")[number % 3]
            messages.append(Message(own, text, start + number * DAY / 10, version))
            assignments[own] = ("icons", "calls", None)[number % 3]
    return messages, assignments


def test_words_match_by_stem() -> None:
    assert stems("Icons missing, crashed") == {"icon", "miss", "crash"}


def test_lead_time_and_idea() -> None:
    messages, assignments = history()
    signs = [Sign("icons", T0 + DAY, "watch"), Sign("icons", T0 + 3 * DAY, "ticket"), Sign("calls", T0 + 31 * DAY, "x")]
    changelog = {"1.9": [], "1.10": [("group", "icon"), ("call", "screen"), ("tablet",)]}

    found = measure(messages, assignments, signs, changelog)

    out = T0 + 30 * DAY + 2 * DAY / 10
    assert [(fix.fix, fix.lead_days, fix.what, fix.cluster_id) for fix in found.fixes] == [
        ("group icon", pytest.approx((out - T0 - DAY) / DAY), "watch", "icons"),
        ("call screen", None, None, None),
        ("tablet", None, None, None),
    ]
    assert found.foreseen == 1
    assert found.fixes[0].out_at == out
    assert found.idea_precision == 1.0
    assert found.idea_recall == pytest.approx(2 / 3)
    assert found.idea_f1 == pytest.approx(0.8)


def test_a_cluster_about_something_else_foresees_nothing() -> None:
    messages, assignments = history()
    found = measure(messages, assignments, [Sign("calls", T0 + DAY, "ticket")], {"1.10": [("group", "icon")]})
    assert (found.foreseen, found.median_lead_days, found.idea_precision) == (0, None, None)


def test_a_changelog_is_aligned_from_its_end_by_version_number() -> None:
    messages, _ = history()
    assert aligned(messages, ["older", "", "group icon, tablet"]) == {
        "1.9": [],
        "1.10": [("group", "icon"), ("tablet",)],
    }
    with pytest.raises(ValueError, match="2 versions"):
        aligned(messages, ["one"])


def test_it_reads_what_a_dry_run_wrote(tmp_path: Path) -> None:
    messages, assignments = history()
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as out:
        for m in messages:
            out.write(json.dumps({"id": m.id, "text": m.text, "time": m.at.isoformat(), "version": m.version}) + "\n")
    lines = [json.dumps({"message_id": m, "cluster_id": c}) for m, c in assignments.items()]
    (tmp_path / "assignments.jsonl").write_text("\n".join(lines))
    (tmp_path / "tickets.jsonl").write_text(json.dumps({"cluster_id": "icons", "opened_at": "2015-01-02T00:00:00Z"}))
    (tmp_path / "log.json").write_text(json.dumps({"app": ["", "group icon"]}))

    found = measure_dry_run(tmp_path / "a.jsonl.gz", tmp_path, tmp_path / "log.json", "app")

    assert found.foreseen == 1
    assert found.median_lead_days == pytest.approx(29.2)
