"""`jira link|unlink|adopt|retry|preview|check`: what people decide about tickets, in any tracker."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from pipeline.cli.context import with_database
from pipeline.cli.deciding import By, Cluster
from pipeline.cli.screen import note, print_json, say
from pipeline.errors import FatalError
from pipeline.settings import Settings
from pipeline.trackers.factory import new_tracker

if TYPE_CHECKING:
    from pipeline.file_issues import Preview
    from pipeline.store.database import Database
    from pipeline.ticketing import Desk

T = TypeVar("T")
Key = Annotated[str, typer.Argument(help="The issue's key, like COM-12.", show_default=False)]

jira = typer.Typer(
    help="Tickets and the tracker, Jira or the local one.\n\nExample: groundswell jira preview 12",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.add_typer(jira, name="jira")


@jira.command()
def link(cluster: Cluster, key: Key, by: By = "unknown") -> None:
    """Say that people filed already what a cluster says: their issue becomes its ticket.

    It gets one comment, with figures and quotes, that is kept up to date; nothing else of it is ever written.

    Example: groundswell jira link 12 COM-7
    """
    issue = _ordered(cluster, lambda desk, cluster_id: desk.link(cluster_id, key, by))
    say(f"#{cluster.removeprefix('#')}: linked with {issue.ref.key} “{issue.summary}” ({issue.status})")
    note(f"the file stage writes its comment as soon as it runs; `groundswell jira unlink {cluster}` takes it back")


@jira.command()
def unlink(cluster: Cluster, by: By = "unknown") -> None:
    """Say that the issue linked with a cluster, or proposed for it, is another matter.

    Our comment there is deleted, the issue is never proposed for this cluster again, and the cluster is decided about
    anew: it may open a ticket of its own.

    Example: groundswell jira unlink 12
    """
    key, linked = _ordered(cluster, lambda desk, cluster_id: desk.unlink(cluster_id, by))
    say(f"{key}: not what cluster {cluster} says")
    if linked:
        note("the file stage takes its comment away as soon as it runs")


@jira.command()
def adopt(cluster: Cluster, key: Key) -> None:
    """Say which issue a create came to whose answer was lost, and that no search finds.

    Example: groundswell jira adopt 12 COM-9
    """
    issue = _ordered(cluster, lambda desk, cluster_id: desk.adopt(cluster_id, key))
    say(f"{issue.ref.key} is the ticket of cluster {cluster}")


@jira.command()
def retry(cluster: Cluster) -> None:
    """Say that a create whose answer was lost, or that was refused, came to nothing: it is tried again.

    Look in the tracker first, for the label that `groundswell why` names: if the issue is there after all, there will
    be two.

    Example: groundswell jira retry 12
    """
    _ordered(cluster, lambda desk, cluster_id: desk.retry(cluster_id))
    say(f"cluster {cluster}: its ticket is created as soon as the file stage runs, if the policy still says so")


@jira.command()
def preview(
    cluster: Cluster, *, as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False
) -> None:
    """Show exactly what the tracker would be sent for a cluster; nothing is sent.

    Example: groundswell jira preview 12

    Example: groundswell jira preview 12 --json
    """
    settings = Settings.load()
    found = with_database(settings, lambda database: _previewed(settings, database, cluster))
    if as_json:
        print_json({"decision": found.decision, "writes": found.writes})
        return
    say(f"decision now: {found.decision.action} ({found.decision.rule}): {found.decision.reason}", style="cyan")
    if found.ticket is not None:
        note(f"it has a ticket, {found.ticket.issue_key or 'no issue'} ({found.ticket.state}); a new one would be:")
    for what, body in found.writes.items():
        say(what, style="bold")
        say(_visible(json.dumps(body, indent=2, ensure_ascii=False)))


@jira.command()
def check() -> None:
    """Check that the tracker can be written to: each problem with its remedy; exit code 1 when there is one.

    Example: groundswell jira check
    """
    settings = Settings.load()
    tracker = new_tracker(settings)
    problems = tracker.check()
    for problem in problems:
        say(problem, style="red")
    if problems:
        raise typer.Exit(1)
    reads = "read" if settings.reads_backlog else "not read"
    say(f"{tracker.place}: can be written to, mode {settings.mode}; what people file there is {reads}")


def _ordered(cluster: str, order: Callable[[Desk, str], Awaitable[T]]) -> T:
    # Imported here: they take scikit-learn along, seconds that only these commands should pay.
    from pipeline.store.explain import find_cluster
    from pipeline.ticketing import Desk

    settings = Settings.load()

    async def ask(database: Database) -> T:
        cluster_id = await find_cluster(database, settings.space, cluster)
        return await order(Desk(database, new_tracker(settings), settings.policy, settings.space), cluster_id)

    return with_database(settings, ask)


def _visible(text: str) -> str:
    """Write what cannot be seen as JSON escapes it: the escapes of mark-up are of that kind."""
    return "".join(char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in text)


async def _previewed(settings: Settings, database: Database, cluster: str) -> Preview:
    from pipeline.backlog import KnownIssues
    from pipeline.dry_run import lazy_embedder
    from pipeline.file_issues import Sink
    from pipeline.store.explain import find_cluster

    tracker = new_tracker(settings)
    known = None
    if settings.reads_backlog:
        known = KnownIssues(database, tracker, lazy_embedder(settings), settings.policy.backlog)
    sink = Sink(database, tracker, settings.policy, settings.mode, known=known)
    cluster_id = await find_cluster(database, settings.space, cluster)
    found = await sink.preview(settings.space, cluster_id)
    if found is None:
        raise FatalError(f"nobody is left in cluster {cluster}: all its messages were deleted")
    return found
