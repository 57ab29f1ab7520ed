"""A space told entry by entry, for tests of single steps of the fold."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np

from models.geometry import View
from pipeline.entries import Body, Entry, Features, Fitted, Posted, Vector
from pipeline.fold import SpaceState
from pipeline.records import MessageRef
from pipeline.state import Cluster
from tests.standins.space_stream import DIMENSIONS, SMALL, SPACE, T0


class Tale:
    """A space told by hand."""

    def __init__(self) -> None:
        self.state = SpaceState(SPACE, SMALL)
        self.at = T0

    def apply(self, body: Body, at: datetime | None = None) -> None:
        """Apply the next entry, a minute later."""
        self.at += timedelta(minutes=1)
        self.state.apply(Entry(self.state.seq + 1, at or self.at, body))

    def say(self, name: str, axis: int = 0, **more: Any) -> None:
        """Post or edit a message; its first letter is the group that `fit` sorts by."""
        features: dict[str, Any] = {
            "kinds": (0.9, 0.025, 0.025, 0.025, 0.025),
            "kind": "complaint",
            "words": 5,
            "echo": False,
        }
        features |= {"fingerprint": name} | more.pop("features", {})
        post: dict[str, Any] = {"author": f"by {name}", "revision": self.at, "vector": unit(axis)} | more
        at = post.pop("at", None)
        self.apply(Posted(MessageRef("discord", name), features=Features(**features), **post), at)

    def echo(self, name: str, of: str, **more: Any) -> None:
        """Agree with a message."""
        self.say(name, reply_to=MessageRef("discord", of), features={"echo": True, "words": 0}, **more)

    def fit(self, groups: dict[str, int]) -> None:
        """Apply a fit that labels messages by the first letter of their names."""
        refs = tuple(m.ref for m in self.state.fit_members())
        labels = np.array([groups.get(ref.message_id[0], -1) for ref in refs], np.int32)
        oldest = self.state.members[refs[0]].seq
        self.apply(Fitted(self.state.seq, refs, labels, View.plain(DIMENSIONS), oldest))

    def __getitem__(self, name: str) -> Any:
        return self.state.members[MessageRef("discord", name)]

    def home(self, name: str) -> Cluster:
        """Return the cluster of a message."""
        return self.state.clusters[self[name].cluster_id]


def unit(axis: int) -> Vector:
    """Return the unit vector of an axis."""
    return np.asarray(np.eye(DIMENSIONS)[axis], np.float32)
