"""The policy where people filed it already: what is linked, what is proposed, and what they say of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pipeline.decide import Action, Decision, Match, Mode, decide
from pipeline.settings import BacklogSettings, PolicySettings
from tests.unit.test_decide import FACTS, FILED, NOW, WOULD

MATCH = Match("10007", "COM-7", "https://jira.test/browse/COM-7", "their words", "To Do", done=False, score=0.7)
LINKS = PolicySettings(backlog=BacklogSettings(link=0.7))
WAYS = "`jira link 4 COM-7` links it, `promote 4` opens one of its own"
PROPOSED = f"perhaps people filed it already: COM-7 (likeness 0.70, proposed from 0.33 on); {WAYS} ({WOULD})"


def about(policy: PolicySettings = LINKS, mode: Mode = "auto", match: Match | None = MATCH, **facts: Any) -> Decision:
    return decide(replace(FACTS, match=match, **facts), None, policy, mode)


def test_by_default_a_match_is_proposed() -> None:
    assert about(PolicySettings()) == Decision(Action.PROPOSE, "match", PROPOSED)


def test_a_sure_match_is_linked_where_that_is_set() -> None:
    reason = f"people filed it already: COM-7 (likeness 0.70, linked from 0.7 on); {WOULD}"
    assert about() == Decision(Action.LINK, "match", reason)
    assert about(match=replace(MATCH, score=0.699)).action is Action.PROPOSE


def test_a_person_has_the_last_word_in_mode_approve() -> None:
    waiting = f"waits for a person's `promote` ({WOULD})"
    assert about(mode="approve") == Decision(Action.PROPOSE, "match", PROPOSED.replace(WOULD, waiting))


def test_shadow_says_what_it_would_do() -> None:
    decision = about(mode="shadow")
    assert (decision.action, decision.rule) == (Action.SKIP, "shadow")
    assert decision.reason.startswith("shadow mode: would link (people filed it already: COM-7")


def test_an_issue_that_is_done_is_never_linked_by_itself() -> None:
    decision = about(match=replace(MATCH, done=True))
    assert decision.action is Action.PROPOSE
    assert "proposed from 0.33 on, done); " in decision.reason


def test_another_clusters_ticket_is_a_reason_to_merge() -> None:
    decision = about(match=replace(MATCH, held_by=2))
    assert (decision.action, decision.rule) == (Action.PROPOSE, "match")
    assert "the ticket of #2: `merge 2 4`, or `promote 4` opens one of its own" in decision.reason


def test_a_promoted_cluster_opens_whatever_people_filed() -> None:
    assert about(promoted=True).action is Action.OPEN
    assert about(promoted=True, backlog_read=False).action is Action.OPEN


def test_nothing_opens_before_it_is_known_what_people_filed() -> None:
    decision = about(match=None, backlog_read=False)
    reason = f"waits until the tracker's issues are read ({WOULD})"
    assert decision == Decision(Action.SKIP, "backlog", reason, NOW)


@pytest.mark.parametrize("facts", [{"muted": True}, {"people_in_window": 7}, {"kind": "praise"}])
def test_what_opens_nothing_links_nothing(facts: dict[str, Any]) -> None:
    assert about(**facts).action is Action.SKIP


def test_a_ticket_of_its_own_is_updated_as_ever() -> None:
    grown = replace(FACTS, match=MATCH, people=12)
    assert decide(grown, FILED, LINKS, "auto") == decide(replace(grown, match=None), FILED, LINKS, "auto")
    assert decide(grown, FILED, LINKS, "auto").action is Action.UPDATE


def test_no_reason_repeats_what_the_issue_says() -> None:
    """Reasons stand in tickets, whose history keeps them for ever."""
    assert "their words" not in about().reason + about(PolicySettings()).reason
