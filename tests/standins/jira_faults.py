"""What can go wrong between a client and Jira, on command, and what happened on the wire."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Event, Lock
from typing import Any, Literal

Kind = Literal["drop_before", "drop_after", "answer_before", "answer_after", "hang"]


@dataclass
class Fault:
    """Strikes the next `times` requests with this method whose path contains `path`.

    `drop_before` closes the connection with nothing done, `drop_after` when the request has taken effect and
    its answer is lost. `answer_before` and `answer_after` give `status`, `headers` and `body` instead of the
    right answer. `hang` takes effect and answers only when `release` is set.
    """

    kind: Kind
    method: str = "POST"
    path: str = "/issue"
    times: int = 1
    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    content_type: str = "application/json"
    release: Event = field(default_factory=Event)
    struck: int = 0

    @property
    def commits(self) -> bool:
        """Whether the request takes effect."""
        return self.kind in ("drop_after", "answer_after", "hang")


class Faults:
    """The faults still to strike, in order of their arrival."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = Lock()

    def add(self, fault: Fault) -> Fault:
        """Arm `fault`."""
        with self._lock:
            self._faults.append(fault)
        return fault

    def take(self, method: str, path: str) -> Fault | None:
        """Return the fault that strikes this request."""
        with self._lock:
            for fault in self._faults:
                if fault.struck < fault.times and fault.method == method and fault.path in path:
                    fault.struck += 1
                    return fault
        return None

    def release_all(self) -> None:
        """Let every hanging answer go."""
        for fault in self._faults:
            fault.release.set()


def html_page(kind: Kind = "answer_before", status: int = 502) -> Fault:
    """Return the page of a proxy in front of Jira."""
    page = "<html><body><h1>Bad Gateway</h1></body></html>"
    return Fault(kind, status=status, body=page, content_type="text/html")


@dataclass(frozen=True)
class Exchange:
    """One request and its right answer; faults are not recorded."""

    method: str
    path: str
    query: dict[str, list[str]]
    request: Any
    status: int
    response: Any
