"""`status`, `tickets`, `why`: what the database knows, for people and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
from rich.text import Text

from pipeline.cli.context import connect_broker, with_database
from pipeline.cli.screen import console, note, print_json, say, shown, table, when
from pipeline.cli.trails import print_trail
from pipeline.errors import PipelineError
from pipeline.in_flight import OnBroker, on_broker
from pipeline.settings import Settings
from pipeline.store.database import Database
from pipeline.store.reports import FOREIGN_REMEDY, FOREIGN_WARNING, Account, Ticket, account, ticket_list

if TYPE_CHECKING:
    from pipeline.store.explain import Why

AsJson = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]
QUOTE_CHARS = 280
_STATUSES = {
    "clustered": "in clusters",
    "pool": "waiting in the pool",
    "aside": "set aside",
    "expired": "expired from the pool",
    "erased": "erased at their source",
}


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command("status")(status)
    app.command("tickets")(tickets)
    app.command("why")(why)
    app.command("watch")(watch)
    app.command("agenda")(agenda)
    app.command("proposals")(proposals)


def status(*, as_json: AsJson = False) -> None:
    """Account for every event: where each one is, and why.

    Example: groundswell status

    Example: groundswell status --json
    """
    settings = Settings.load()

    async def ask(database: Database) -> tuple[Account, OnBroker | str]:
        own = await account(database, settings.space)
        try:
            bootstrap = connect_broker(settings)
            return own, await on_broker(database, bootstrap, settings.kafka.prefix)
        except PipelineError as exc:
            return own, str(exc)

    own, broker = with_database(settings, ask)
    if as_json:
        known = isinstance(broker, OnBroker)
        print_json({"account": own, "broker": broker if known else None, "broker_problem": None if known else broker})
        return
    _print_account(own)
    if own.foreign.share >= FOREIGN_WARNING:
        served = ", ".join(settings.model.languages)
        warning = f"the model serves {served}; set aside, and in no ticket: {own.foreign}. Remedy: {FOREIGN_REMEDY}"
        console().print(shown(warning, style="yellow"), soft_wrap=True)
    if isinstance(broker, OnBroker):
        _print_broker(broker)
    else:
        note(f"what is still on the broker is not known: {broker}")


def _print_account(own: Account) -> None:
    grid = table(">count", "what", "of it")
    grid.add_row(f"{own.events:,}", "events taken", shown(_counts(own.taken)))
    for name, meaning in _STATUSES.items():
        if own.messages.get(name):
            detail = _counts(own.aside) if name == "aside" else ""
            if name == "clustered" and own.no_feedback:
                detail = f"{own.no_feedback:,} in clusters that a person called no feedback"
            grid.add_row(f"{own.messages[name]:,}", f"messages {meaning}", shown(detail))
    if own.unmatched > 0:
        grid.add_row(f"{own.unmatched:,}", "messages posted anew under a known id")
    elif own.unmatched < 0:
        grid.add_row(f"{-own.unmatched:,}", "messages known only from an edit or a deletion")
    if own.redelivered:
        grid.add_row(f"{own.redelivered:,}", "deliveries of events that were known", "not counted above")
    grid.add_row(f"{own.clusters:,}", "live clusters")
    grid.add_row(f"{own.tickets:,}", "tickets")
    console().print(Text(f"space {own.space}, up to {when(own.now)} UTC", style="bold"), grid)


def _print_broker(broker: OnBroker) -> None:
    grid = table(">count", "what", "of it")
    grid.add_row(f"{broker.published:,}", "events on the broker so far, of all spaces")
    grid.add_row(f"{broker.taken:,}", "taken")
    grid.add_row(f"{broker.dead:,}", "dead", "groundswell dead list" if broker.dead else "")
    waits = ", ".join(f"{count:,} before {stage}" for stage, count in broker.stages.items() if count)
    grid.add_row(f"{broker.in_flight:,}", "in flight", waits)
    if broker.unaccounted:
        grid.add_row(
            Text(f"{broker.unaccounted:,}", style="red"),
            Text("unaccounted for", style="red"),
            "dead letters whose retention has ended, or a loss: groundswell check",
        )
    if broker.refused:
        grid.add_row(f"{broker.refused:,}", "refused before they were events", "groundswell dead list")
    if broker.parked:
        grid.add_row(f"{broker.parked:,}", "other dead letters", "groundswell dead list")
    console().print("", grid)


def _counts(counts: object) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in dict(counts).items())  # type: ignore[call-overload]


def tickets(*, as_json: AsJson = False) -> None:
    """List the tickets, most people first.

    Example: groundswell tickets

    Example: groundswell tickets --json
    """
    settings = Settings.load()
    found = with_database(settings, lambda database: ticket_list(database, settings.space))
    if as_json:
        print_json(found)
    elif found:
        console().print(ticket_table(found))
    else:
        say(f"no tickets in space {settings.space} yet; `groundswell status` shows what has arrived")


def ticket_table(found: list[Ticket]) -> Group:
    """Return the tickets as people read them."""
    grid = table("ticket", ">cluster", "kind", "summary", ">people", ">messages", "platforms", "since", "why it opened")
    for one in found:
        state = "" if one.state == "open" else f" ({one.state})"
        grid.add_row(
            shown((one.key or "-") + state),
            f"#{one.number}",
            shown(one.kind),
            shown(one.summary, style="bold"),
            str(one.people),
            str(one.messages),
            shown(", ".join(one.platforms)),
            f"{one.since:%Y-%m-%d}" if one.since else "-",
            # What follows the semicolon repeats the columns.
            shown(one.reason.partition(";")[0]),
        )
    troubles = [shown(f"#{one.number}: {one.problem}", style="yellow") for one in found if one.problem]
    return Group(grid, *troubles)


def watch(*, as_json: AsJson = False) -> None:
    """List what is on watch: more people say it than before, by more than chance, and it is no ticket yet.

    The setting policy.watch.false_alarms says how many false alarms a week to expect at most.

    Example: groundswell watch

    Example: groundswell watch --json
    """
    settings = Settings.load()
    _list_talks(settings, ("watch",), None, "nothing is on watch", as_json=as_json)


def agenda(*, as_json: AsJson = False) -> None:
    """List the questions that people ask, most people first: an agenda for an AMA, or a FAQ.

    Example: groundswell agenda

    Example: groundswell agenda --json
    """
    settings = Settings.load()
    _list_talks(settings, None, "question", "no cluster of questions", as_json=as_json)


def proposals(*, as_json: AsJson = False) -> None:
    """List what waits for a person: `promote` opens a ticket, `jira link` links what people filed already.

    Example: groundswell proposals

    Example: groundswell proposals --json
    """
    _list_talks(Settings.load(), ("propose",), None, "nothing waits for a person", as_json=as_json)


def _list_talks(
    settings: Settings, actions: tuple[str, ...] | None, kind: str | None, none: str, *, as_json: bool
) -> None:
    # Imported here: it takes scikit-learn along, seconds that only these commands should pay.
    from pipeline.store.lists import talks

    found = with_database(settings, lambda database: talks(database, settings.space, actions=actions, kind=kind))
    if as_json:
        print_json(found)
        return
    if not found:
        say(f"{none} in space {settings.space}; `groundswell status` shows what has arrived")
        return
    grid = table(">cluster", ">people", ">messages", "platforms", "last", "typical message", "decision")
    for one in found:
        grid.add_row(
            f"#{one.number}",
            str(one.people),
            str(one.messages),
            shown(", ".join(one.platforms)),
            f"{one.last_at:%Y-%m-%d %H:%M}",
            shown(one.name or one.quote, QUOTE_CHARS),
            shown(one.reason or "none yet"),
        )
    console().print(grid)


def why(
    cluster: Annotated[
        str | None, typer.Argument(help="Number (12 or '#12'), id, or ticket key.", show_default=False)
    ] = None,
    *,
    message: Annotated[
        str | None, typer.Option("--message", help="A message, by its id or PLATFORM/ID: how it got where it is.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say why a cluster has a ticket, or has none; or how a message came to where it is.

    Example: groundswell why 12

    Example: groundswell why GS-3

    Example: groundswell why --message discord/1180
    """
    # Imported here: they take scikit-learn along, seconds that only this command should pay.
    from pipeline.store.explain import why as explain
    from pipeline.store.trail import trail

    if (cluster is None) == (message is None):
        raise typer.BadParameter("name a cluster, or a message with --message")
    settings = Settings.load()
    if message is not None:
        way = with_database(settings, lambda database: trail(database, settings.space, message))
        if as_json:
            print_json(way)
        else:
            print_trail(way)
        return
    assert cluster is not None
    found = with_database(settings, lambda database: explain(database, settings.space, cluster, settings.policy))
    if as_json:
        print_json(found)
    else:
        _print_why(found)


def _print_why(found: Why) -> None:
    facts = found.facts
    lines = [
        Text(f"#{facts.number}  {found.ticket.summary if found.ticket else facts.name or '(no ticket)'}", style="bold"),
        Text(f"{facts.kind}, cluster {found.cluster_id}"),
        Text(
            f"{facts.people} people ({facts.people_in_window} within the window), {facts.messages} messages "
            f"on {', '.join(facts.platforms) or 'no platform'}, {when(facts.first_at)} to {when(facts.last_at)} UTC"
        ),
    ]
    if facts.name:
        lines.append(Text(f"named by a person: {facts.name}"))
    if found.cues:
        shares = ", ".join(f"{cue} ({people})" for cue, people in found.cues)
        lines.append(Text(f"wording, with how many people: {shares}"))
    if found.release:
        lines.append(Text(f"mostly from users of release {found.release}"))
    if found.ruling is not None:
        ruling = found.ruling
        stale = "" if ruling.current else "; it changed since, and will be looked at again"
        lines.append(Text(f"decision: {ruling.action} ({ruling.rule}): {ruling.reason}{stale}", style="cyan"))
    else:
        lines.append(Text("decision: none yet; the file stage has not looked at it", style="cyan"))
    if found.ticket is not None:
        ticket = found.ticket
        where = f"{ticket.key or '-'} {ticket.url or ''}"
        lines.append(Text(f"ticket: {where}, {ticket.state}; opened by: {ticket.reason}"))
        if ticket.problem:
            lines.append(Text(f"problem: {ticket.problem}", style="yellow"))
    lines.extend(
        Text(
            f"people filed {one.key} “{one.summary}” {one.url}: {one.verdict}"
            f"{f', likeness {one.score:.2f}' if one.score is not None else ''}{f', said {one.by}' if one.by else ''}"
        )
        for one in found.filed
    )
    if facts.merged_into is not None:
        lines.append(Text(f"merged into #{facts.merged_into}: groundswell why {facts.merged_into}"))
    if facts.held_by is not None:
        lines.append(Text(f"close to #{facts.held_by}"))
    lines.extend(
        Text(
            f"history: {step.what}{f' #{step.other}' if step.other is not None else ''} (entry {step.seq}"
            f"{f', command {step.command_id}' if step.command_id else ''})"
        )
        for step in found.lineage
    )
    lines.extend(
        Text(
            f"command {order.command_id}: {order.name}{f' {order.value}' if order.value else ''}"
            f"{f' with #{order.other}' if order.other is not None else ''} by {order.by}, "
            f"{when(order.at)} UTC{'' if order.in_force else ', not in force'}"
        )
        for order in found.commands
    )
    if found.quotes:
        lines.append(Text("typical messages:"))
    lines.extend(Text(f"  {when(quote.at)}  “{shown(quote.text, QUOTE_CHARS)}”") for quote in found.quotes)
    out = console()
    for line in lines:
        out.print(shown(line.plain, style=str(line.style)) if not line.plain.startswith("  ") else line, soft_wrap=True)
