"""The demonstration on a terminal, or as plain lines where there is none."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.text import Text

from pipeline.cli.reading import ticket_table
from pipeline.cli.screen import console, say
from pipeline.demo import Step
from pipeline.store.reports import Ticket

_LINE_S: Final = 5.0
"""Between two plain lines of progress."""
_ROWS: Final = (
    ("published", "messages to Kafka"),
    ("embedded", "read: kind and vector"),
    ("clustered", "in the database"),
    ("decided", "clusters looked at"),
)


class Screen:
    """See `pipeline.demo.Show`."""

    def __init__(self) -> None:
        self._console = console()
        self._live: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._began = time.monotonic()
        self._said = 0.0
        self._last = ""

    def say(self, text: str) -> None:
        """See `Show.say`."""
        if text != self._last:
            say(f"{time.monotonic() - self._began:4.0f} s  {text}")
        self._last = text

    def begin(self) -> None:
        """See `Show.begin`."""
        if not self._console.is_terminal:
            return
        self._live = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:<10}", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=self._console,
        )
        self._tasks = {name: self._live.add_task(name, total=None, note=note) for name, note in _ROWS}
        self._tasks["tickets"] = self._live.add_task("tickets", total=None, note="")
        self._live.start()

    def update(self, step: Step) -> None:
        """See `Show.update`."""
        seconds = time.monotonic() - self._began
        restarts = f", {step.restarts} restarts" if step.restarts else ""
        loading = step.published > 0 and step.embedded == 0
        if self._live is None:
            if seconds - self._said >= _LINE_S:
                self._said = seconds
                self.say(
                    f"published {step.published}, embedded {step.embedded}, clustered {step.clustered} of "
                    f"{step.events}; {step.decided} of {step.clusters} clusters decided, "
                    f"{step.tickets} tickets{restarts}{', loading the model' if loading else ''}"
                )
            return
        done = {
            "published": (step.published, step.events),
            "embedded": (step.embedded, step.events),
            "clustered": (step.clustered, step.events),
            "decided": (step.decided, step.clusters or None),
        }
        for name, (count, total) in done.items():
            self._live.update(self._tasks[name], completed=count, total=total)
        reading = "loading the model" if loading else dict(_ROWS)["embedded"]
        self._live.update(self._tasks["embedded"], note=reading)
        note = f"after {seconds:.0f} s{restarts}"
        self._live.update(self._tasks["tickets"], completed=step.tickets, total=step.tickets or None, note=note)

    def end(self) -> None:
        """See `Show.end`."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def tickets(self, found: list[Ticket], seconds: float, home: Path, *, again: bool) -> None:
        """See `Show.tickets`."""
        heading = f"{len(found)} tickets after {seconds:.0f} s" + (" (there were some before)" if again else "")
        self._console.print("", Text(heading, style="bold"), ticket_table(found), "")
        number = found[0].number if found else 1
        say(
            f"Why each one opened, with people's own words:\n"
            f"  export GROUNDSWELL_CONFIG={shlex.quote(str(home / 'groundswell.toml'))}\n"
            f"  groundswell why {number}\n"
            f"What became of every event: groundswell status    All of it is in {home}"
        )

    def keeping(self, home: Path, bootstrap: str, url: str) -> None:
        """See `Show.keeping`."""
        say(
            f"\nKafka at {bootstrap} and the stages run on until Ctrl-C. In another terminal, after the export above:\n"
            f"  groundswell publish MORE.jsonl     messages of your own, into the same space\n"
            f"  groundswell mute 1                 a decision of yours, taken at once\n"
            f"  curl {url}/metrics\n"
            f"Logs are in {home / 'logs'}"
        )
