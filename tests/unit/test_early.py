"""How early: lead times and IDEA's measure, on a small history that can be counted by hand."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli.program import app
from pipeline.errors import FatalError
from pipeline.evaluation.early import Fix, Message, Sign, aligned, measure, stems
from pipeline.evaluation.early_files import measure_dry_run, read_changelog

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
    signs = [Sign("icons", T0 + days * DAY, "watch") for days in (1, 3)]
    signs.append(Sign("calls", T0 + 31 * DAY, "watch"))
    changelog = {"1.9": [], "1.10": [("group", "icon"), ("call", "screen"), ("tablet",)]}

    found = measure(messages, assignments, signs, changelog)

    out = T0 + 30 * DAY + 2 * DAY / 10
    assert [(fix.fix, fix.lead_days, fix.what, fix.cluster_id) for fix in found.fixes] == [
        ("group icon", pytest.approx((out - T0 - DAY) / DAY), "watch", "icons"),
        ("call screen", None, None, None),
        ("tablet", None, None, None),
    ]
    assert (found.foreseen, found.by_ticket, found.tickets, found.watches) == (1, 0, 0, 3)
    assert found.by_chance == 1  # one version only: dealt anew, each fix is where it was
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


def test_what_is_foreseen_whichever_version_it_is_dealt_to_is_chance() -> None:
    messages, assignments = history()
    signs = [Sign("icons", T0 - DAY, "ticket")]
    changelog: dict[str, list[Fix]] = {"1.9": [("tablet",)], "1.10": [("group", "icon"), ("call", "screen")]}
    found = measure(messages, assignments, signs, changelog)
    assert (found.foreseen, found.by_ticket) == (1, 1)
    # Before 1.9 too, three messages in, the cluster is about it: a fix of either version would have been foreseen.
    assert found.by_chance == pytest.approx(1)
    late = measure(messages, assignments, [Sign("icons", T0 + DAY, "ticket")], changelog)
    assert late.by_chance == pytest.approx(2 / 3)


def written(tmp_path: Path) -> list[str]:
    messages, assignments = history()
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as out:
        for m in messages:
            out.write(json.dumps({"id": m.id, "text": m.text, "time": m.at.isoformat(), "version": m.version}) + "\n")
    lines = [json.dumps({"message_id": m, "cluster_id": c}) for m, c in assignments.items()]
    (tmp_path / "assignments.jsonl").write_text("\n".join(lines))
    (tmp_path / "tickets.jsonl").write_text(json.dumps({"cluster_id": "icons", "opened_at": "2015-01-04T00:00:00Z"}))
    (tmp_path / "watches.jsonl").write_text(json.dumps({"cluster_id": "icons", "at": "2015-01-02T00:00:00Z"}))
    (tmp_path / "log.json").write_text(json.dumps({"app": ["", "group icon"]}))
    return [str(tmp_path / "a.jsonl.gz"), str(tmp_path / "log.json"), "--app", "app", "--from", str(tmp_path)]


def test_the_command_reads_what_a_dry_run_wrote(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["evaluate-early", *written(tmp_path), "--json", str(tmp_path / "f.json")])
    assert result.exit_code == 0, result.output
    assert "1 of 1 foreseen" in result.output
    figures = json.loads((tmp_path / "f.json").read_text())
    assert (figures["foreseen"], figures["by_ticket"], figures["tickets"], figures["watches"]) == (1, 1, 1, 1)
    assert figures["median_lead_days"] == pytest.approx(29.2)
    assert figures["fixes"][0]["what"] == "watch"


def test_an_app_that_is_not_there_and_a_folder_without_watches_are_named(tmp_path: Path) -> None:
    arguments = written(tmp_path)
    with pytest.raises(FatalError, match="no changelog of other; it has those of app"):
        read_changelog(tmp_path / "log.json", "other")
    (tmp_path / "watches.jsonl").unlink()
    with pytest.raises(FatalError, match=r"watches\.jsonl"):
        measure_dry_run(Path(arguments[0]), tmp_path, ["", "group icon"])
