"""What a ticket says, and what it must not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.decide import Action, Decision
from pipeline.issue_text import Quote, draft, fingerprint, issue_label, quotes_comment
from tests.unit.test_decide import FACTS

WHY = Decision(Action.OPEN, "people", "8 people within 30 days, 8 needed")


def test_the_whole_text() -> None:
    issue = draft(
        "quillstone", "ab12", replace(FACTS, tags=("vip",)), WHY, "Export: pdf, blank", ["export", "blank pdf"], "4.2"
    )
    assert issue.summary == "Export: pdf, blank"
    assert issue.description == (
        "9 people have said this in 12 messages on discord, reddit.\n"
        "## What it is about\n"
        "- Words they share: export, blank pdf\n"
        "- Kind: complaint\n"
        "- First said: 2026-03-17 12:00 UTC\n"
        "- Last said: 2026-03-20 11:00 UTC\n"
        "- Release that many of them name: 4.2\n"
        "- Tagged: vip\n"
        "## Why this ticket\n"
        "- Rule “people”: 8 people within 30 days, 8 needed\n"
        "- Cluster #4 of quillstone; `groundswell why ab12` shows the evidence as it is now"
    )
    assert (issue.kind, issue.labels) == ("complaint", ("groundswell", "groundswell-complaint"))


def test_without_shared_words_it_says_so_and_has_a_summary() -> None:
    issue = draft("s", "c", replace(FACTS, kind="unsure"), WHY, "", [], None)
    assert issue.summary == "Recurring unsure, cluster #4"
    assert "- Words they share: none that three of them used" in issue.description
    assert issue.kind == "complaint"


def test_the_label_never_changes() -> None:
    assert issue_label("quillstone", "0123456789abcdef") == "groundswell-2c05de895eb3"
    assert issue_label("other", "0123456789abcdef") != issue_label("quillstone", "0123456789abcdef")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("@ann it is slow", "@… it is slow"),
        ("thanks <@123456> and <@!77> and <@&5>", "thanks @… and @… and @…"),
        ("ask @bob:matrix.example.org please", "ask @… please"),
        ("as u/some_one and /u/other-1 said", "as @… and @… said"),
        ("mail me@example.org, see menu/u/x", "mail me@example.org, see menu/u/x"),
        ("two\n  lines", "two lines"),
        ("x" * 401, "x" * 399 + "…"),
        ("x" * 400, "x" * 400),
    ],
)
def test_quotes_name_nobody(text: str, shown: str) -> None:
    assert quotes_comment([Quote(text, None)]).splitlines()[1] == f"- “{shown}”"


def test_quotes_link_to_where_they_stand() -> None:
    assert quotes_comment([]) == ""
    lines = quotes_comment([Quote("a", "https://x/1"), Quote("b", None)]).splitlines()
    assert lines[:3] == ["Typical messages:", "- “a” (https://x/1)", "- “b”"]
    assert len(lines) == 4


def test_a_fingerprint_tells_texts_apart() -> None:
    one = draft("s", "c", FACTS, WHY, "summary", ["word"], None)
    assert fingerprint(one) == fingerprint(draft("s", "c", FACTS, WHY, "summary", ["word"], None))
    assert fingerprint(one) != fingerprint(draft("s", "c", FACTS, WHY, "summary", ["words"], None))
