"""What a ticket says. Pure text in a tiny mark-up ("## " heading, "- " bullet); each tracker escapes it for itself.

Summary and description hold figures and words that three people or more used, and no one's sentences: Jira's
changelog keeps them for ever. People's sentences go to one comment that can be edited and deleted.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.decide import ClusterFacts, Decision
from pipeline.trackers.port import IssueDraft

LABEL_PREFIX = "groundswell"
_MENTION = re.compile(r"<@[!&]?\d+>|(?<!\w)@[\w.-]+(?::[\w.-]+)?|(?<![\w/])/?u/[\w-]+")
"""People who are spoken to did not ask to stand in a ticket: Discord, names, Matrix, Reddit."""


@dataclass(frozen=True, slots=True)
class Quote:
    """Someone's words, as they came, and where they stand."""

    text: str
    permalink: str | None


def issue_label(space: str, cluster_id: str) -> str:
    """Return the label that names a cluster's issue: short, and unique across spaces."""
    return f"{LABEL_PREFIX}-{hashlib.sha256(f'{space}/{cluster_id}'.encode()).hexdigest()[:12]}"


def draft(
    space: str,
    cluster_id: str,
    facts: ClusterFacts,
    decision: Decision,
    summary: str,
    phrases: Sequence[str],
    release: str | None,
    alike: str | None = None,
) -> IssueDraft:
    """Write the ticket of a cluster.

    Parameters
    ----------
    summary : str
        One line from `phrases`.
    phrases : sequence of str
        Words and phrases that three authors or more used, most telling first.
    release : str or None
        Release of the product that many of them name.
    alike : str or None
        Key of an issue that people filed and that may say the same.
    """
    lines = [
        f"{facts.people} people have said this in {facts.messages} messages on {', '.join(facts.platforms)}.",
        "## What it is about",
        f"- Words they share: {', '.join(phrases) if phrases else 'none that three of them used'}",
        f"- Kind: {facts.kind}",
        f"- First said: {facts.first_at:%Y-%m-%d %H:%M} UTC",
        f"- Last said: {facts.last_at:%Y-%m-%d %H:%M} UTC",
    ]
    if release is not None:
        lines.append(f"- Release that many of them name: {release}")
    if facts.tags:
        lines.append(f"- Tagged: {', '.join(facts.tags)}")
    lines += [
        "## Why this ticket",
        f"- Rule “{decision.rule}”: {decision.reason}",
        f"- Cluster #{facts.number} of {space}; `groundswell why {cluster_id}` shows the evidence as it is now",
    ]
    if alike is not None:
        lines.append(f"- Perhaps the same as {alike}, which people filed")
    kind = facts.kind if facts.kind in {"complaint", "idea", "question"} else "complaint"
    return IssueDraft(
        summary=summary or f"Recurring {facts.kind}, cluster #{facts.number}",
        description="\n".join(lines),
        kind=kind,
        label=issue_label(space, cluster_id),
        labels=(LABEL_PREFIX, f"{LABEL_PREFIX}-{kind}"),
    )


def quotes_comment(quotes: Sequence[Quote]) -> str:
    """Return the text of the quotes comment; empty when there is nothing to quote."""
    if not quotes:
        return ""
    lines = ["Typical messages:"]
    for quote in quotes:
        text = _MENTION.sub("@…", " ".join(quote.text.split()))
        text = text if len(text) <= 400 else text[:399] + "…"
        lines.append(f"- “{text}”" + (f" ({quote.permalink})" if quote.permalink else ""))
    lines.append("This comment follows the messages: what its author edits or deletes changes or goes here too.")
    return "\n".join(lines)


def linked_comment(space: str, cluster_id: str, facts: ClusterFacts, reason: str, quotes: Sequence[Quote]) -> str:
    """Return the text of our comment on an issue that people filed: the cluster's figures, then quotes."""
    lines = [
        f"{facts.people} people have said this in {facts.messages} messages on {', '.join(facts.platforms)}.",
        f"- First said: {facts.first_at:%Y-%m-%d %H:%M} UTC",
        f"- Last said: {facts.last_at:%Y-%m-%d %H:%M} UTC",
        f"- Why here: {reason}",
        f"- Cluster #{facts.number} of {space}; `groundswell why {cluster_id}` shows the evidence as it is now, "
        f"`groundswell jira unlink {cluster_id}` takes this comment away",
    ]
    return "\n".join([*lines, quotes_comment(quotes)]).rstrip()


def fingerprint(draft: IssueDraft) -> str:
    """Return a hash of what would be written, to leave out writes that change nothing."""
    return hashlib.sha256("\x1f".join((draft.summary, draft.description, *draft.labels)).encode()).hexdigest()[:32]
