"""`dead list|show|retry`: what could not be processed."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.broker_view import end_offsets
from pipeline.cli.context import connect_broker
from pipeline.cli.screen import console, note, plain, print_json, say, shown, table, when
from pipeline.dead import DeadLetter
from pipeline.dead_letters import read_dead
from pipeline.dead_letters import retry as send_back
from pipeline.errors import FatalError, SkippableError
from pipeline.settings import Settings
from pipeline.topics import DEAD

SHOWN_CHARS = 10_000

dead = typer.Typer(
    help="What could not be processed, and why.\n\nExample: groundswell dead list",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Id = Annotated[str, typer.Argument(help="As `dead list` names it: partition/offset.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.add_typer(dead, name="dead")


@dead.command("list")
def list_(*, as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False) -> None:
    """List the dead letters, oldest first.

    Example: groundswell dead list
    """
    letters = sorted(_letters(Settings.load()), key=lambda letter: letter.at)
    if as_json:
        print_json([_fields(letter) for letter in letters])
        return
    if not letters:
        say("no dead letters")
        return
    grid = table("id", "at (UTC)", "stage", "from", "reason")
    for letter in letters:
        grid.add_row(letter.id, when(letter.at), shown(letter.stage), shown(_place(letter)), shown(letter.reason, 200))
    console().print(grid)
    note("`groundswell dead show ID` shows one whole, `groundswell dead retry ID` sends it back")


@dead.command()
def show(letter_id: Id) -> None:
    """Show a dead letter whole.

    Where it came from, why it died, its bytes as text.

    Example: groundswell dead show 0/17
    """
    letter = _one(list(_letters(Settings.load())), letter_id)
    for name, value in _fields(letter).items():
        if name != "value" and value is not None:
            console().print(shown(f"{name}: {value}"), soft_wrap=True)
    text = plain(letter.value.decode("utf-8", "replace"), SHOWN_CHARS, lines=True)
    console().print(shown("value:"), end="\n")
    say(text)
    if letter.cut:
        note(f"cut: {len(letter.value)} of {letter.length} bytes are left, sha256 of the whole {letter.sha256}")


@dead.command()
def retry(
    letter_ids: Annotated[
        list[str] | None, typer.Argument(help="As `dead list` names them: partition/offset.", show_default=False)
    ] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="All that can be sent back.")] = False,
) -> None:
    """Send dead letters back.

    To where they came from, once their cause is mended. Repeats are harmless: a message is counted once, however
    often it comes.

    Example: groundswell dead retry 0/17 0/18

    Example: groundswell dead retry --all
    """
    if bool(letter_ids) == everything:
        raise typer.BadParameter("name dead letters, or all of them with --all")
    settings = Settings.load()
    letters = list(_letters(settings))
    chosen = letters if everything else [_one(letters, letter_id) for letter_id in letter_ids or ()]
    kept: list[str] = []
    if everything:
        chosen, kept = _sendable(chosen)
    sent = send_back(connect_broker(settings), chosen)
    say(f"{sent:,} sent back; those that fail again come back as new dead letters")
    if kept:
        note(f"{len(kept):,} cannot be sent back, for example: {kept[0]}")


def _sendable(letters: list[DeadLetter]) -> tuple[list[DeadLetter], list[str]]:
    """Return those that can be sent back, and why the others cannot.

    What died again after a retry lies there twice, and is sent once.
    """
    good, reasons = [], []
    for letter in {(letter.topic, letter.key, letter.value): letter for letter in letters}.values():
        try:
            letter.retry_topic()
        except SkippableError as exc:
            reasons.append(str(exc))
        else:
            good.append(letter)
    return good, reasons


def _letters(settings: Settings) -> list[DeadLetter]:
    bootstrap = connect_broker(settings)
    topic = settings.kafka.prefix + DEAD.name
    return list(read_dead(bootstrap, topic)) if end_offsets(bootstrap, topic) else []


def _one(letters: list[DeadLetter], letter_id: str) -> DeadLetter:
    for letter in letters:
        if letter.id == letter_id:
            return letter
    raise FatalError(f"no dead letter {letter_id!r}: `groundswell dead list` lists them, as partition/offset")


def _place(letter: DeadLetter) -> str:
    if letter.topic is None:
        return letter.where or "-"
    return f"{letter.topic} {letter.from_partition}/{letter.from_offset}"


def _fields(letter: DeadLetter) -> dict[str, object]:
    return {
        "id": letter.id,
        "at": letter.at.isoformat(),
        "stage": letter.stage,
        "error": letter.error,
        "reason": letter.reason,
        "from": _place(letter),
        "where": letter.where,
        "key": letter.key.decode("utf-8", "replace") if letter.key is not None else None,
        "bytes": letter.length,
        "sha256": letter.sha256,
        "retried": letter.retried,
        "value": letter.value.decode("utf-8", "replace"),
    }
