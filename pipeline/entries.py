"""Journal entries: everything that ever changes a space, in one order.

The state of a space is a fold over these (`pipeline.fold`). An entry holds no text: what the fold needs of a text
are its features, so that erasing a text leaves the journal readable.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
import numpy.typing as npt

from models.geometry import View
from pipeline.records import CommandName, MessageRef

Vector = npt.NDArray[np.float32]
KIND_COUNT: Final = 5


@dataclass(frozen=True, slots=True)
class Features:
    """What the fold knows of a message's text."""

    kinds: tuple[float, float, float, float, float]
    """Probabilities of complaint, idea, question, praise, other."""
    kind: str
    """The acting decision for this message alone: one of the five kinds, or "unsure"."""
    words: int
    """Content words: what is left without links, code, mentions, stop and chat words."""
    echo: bool
    """Agreement that means something only with its parent ("same here")."""
    fingerprint: str
    """Hash of the normalised text: equal for near-identical texts."""
    language: str | None = None
    """ISO 639-1 code when it is not one that the model serves, else None."""
    form: str | None = None
    """What the whole text is where it says nothing itself (`models.forms`): "link only", "code or log only", …"""
    clear: bool = False
    """A clear question, complaint or wish in however few words."""
    leans: bool = False
    """An echo where it answers something; said to nobody, a statement."""


@dataclass(frozen=True, slots=True)
class Posted:
    """A message was created, or edited (`edited`): the newest revision wins."""

    ref: MessageRef
    author: str | None
    """None in an edit whose platform does not repeat the author."""
    revision: datetime
    features: Features
    vector: Vector
    """Unit vector (d,) float32, as read back from its float16."""
    reply_to: MessageRef | None = None
    edited: bool = False


@dataclass(frozen=True, slots=True)
class Deleted:
    """A message was deleted at its source."""

    ref: MessageRef


@dataclass(frozen=True, slots=True)
class AuthorErased:
    """Everything an author wrote is to be forgotten."""

    platform: str
    author: str


@dataclass(frozen=True, slots=True)
class Reacted:
    """Engagement with a message changed (a reaction, a vote, a score); the amounts stand in the database."""

    ref: MessageRef


@dataclass(frozen=True, slots=True)
class Commanded:
    """A person decided something about a cluster."""

    command_id: str
    name: CommandName
    cluster_id: str
    by: str
    value: str | None = None
    other: str | None = None
    """The second cluster of `merge` and `separate`."""
    messages: tuple[MessageRef, ...] = ()
    """What `split` puts into a cluster of its own."""


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time passed without a message; `now` of the entry says how far."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """The result of a fit over the messages as they were at `begun_seq`.

    `labels` are one fit's own numbers (−1 noise) for `refs`; `pipeline.tracking` turns them into stable ids.
    """

    begun_seq: int
    refs: tuple[MessageRef, ...]
    labels: npt.NDArray[np.int32]
    view: View
    """How the fit looked at the vectors; what comes later is looked at in the same way."""
    oldest: int = 0
    """`seq`, when the fit began, of the oldest message it looked at: no later fit looks further back."""
    names: tuple[tuple[int, str], ...] = ()
    """In a rebuild: label → the cluster before the rebuild that it most shares its messages with."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A rebuild wrote the journal anew from here (the first of two), or is at its end (the second)."""

    model: str
    dimensions: int
    next_number: int
    """Numbers that a rebuild gives begin here: no number is given twice."""
    clusters: tuple[tuple[str, int, int], ...] = ()
    """(id, number, born_seq) of the clusters that there were; they wait, empty, to be found again."""
    names: tuple[tuple[str, str], ...] = ()
    """At the end: (new cluster, the one before the rebuild that it goes on as)."""
    merged: tuple[tuple[str, str], ...] = ()
    """At the end: (cluster not found again, the one most of its messages are in now)."""


Body = Posted | Deleted | AuthorErased | Reacted | Commanded | Ticked | Fitted | Rebuilt


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a space's journal: `seq` counts from 1 without gaps; `at` is the time the body itself carries."""

    seq: int
    at: datetime
    body: Body
