"""What every connector promises, and the two things it can hand over: `Published` and `Refused`.

A connector turns one platform into events. It knows no Kafka: `connectors.run` drives it, waits
for the broker's acknowledgements and keeps its cursors. The contract, to which `tests/contract` holds every
connector:

- **At least once.** What the platform delivered is yielded, perhaps again after a restart, never skipped.
- **A cursor resumes after its item.** `receive({partition: cursor})` yields exactly what follows it in that
  partition. An item that must be seen again (one of a batch that the platform hands out whole, a line still
  being written) carries the cursor of the item before it. What a cursor means is the connector's business.
- **Oldest first** within an event's `container`; between containers order is free.
- **States, not deltas.** A reaction is present or absent, an edit has the whole text: repeats change nothing.
- **Deterministic ids.** The same happening has the same `Event.id` in every run and process.
- **Refused input is never dropped.** What cannot become an event is yielded as `Refused`, with its bytes and
  a reason that says what to do, and the rest goes on.
- **One running instance** for each (`name`, `instance`); its supervisor restarts it, nothing elects it.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from pipeline.records import Event


@dataclass(frozen=True, slots=True)
class Published:
    """One event, and the place to go on from once the broker has it.

    `settle` asks the driver to have everything up to this item acknowledged and checkpointed before it asks
    for the next one: for platforms whose next request confirms the last answer (Telegram's `getUpdates`).
    """

    event: Event
    cursor: str
    partition: str
    settle: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """Input that cannot become an event.

    `raw` as it came; `reason` as "what is wrong: what to do"; `where` it was, for a person ("chat.jsonl:12").
    """

    raw: bytes
    reason: str
    where: str
    cursor: str
    partition: str
    settle: bool = False


Received = Published | Refused


class Connector(Protocol):
    """One platform account, feed or file; the module's docstring is its contract."""

    @property
    def name(self) -> str:
        """The platform's connector: "archive", "discord"; the first part of the checkpoints' keys."""
        ...

    @property
    def instance(self) -> str:
        """Tells two connectors of one `name` apart: a space, a bot. Stable: checkpoints are found by it."""
        ...

    def receive(self, after: Mapping[str, str]) -> AsyncIterator[Received]:
        """Yield everything after each partition's cursor in `after`, oldest first.

        A partition not named there is read from its beginning. Ends when a finite source ends; a live one
        goes on until cancelled.

        Raises
        ------
        RetriableError
            When the platform is away for now: receive again, after what was acknowledged.
        FatalError
            When only a person can help (no such file, bad token, no right); the message says how.
        """
        ...
