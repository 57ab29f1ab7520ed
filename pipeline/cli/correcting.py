"""`correct`: a person says what kind a message is, for the classifier to learn from."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

import typer

from pipeline.cli.context import with_database
from pipeline.cli.deciding import By
from pipeline.cli.screen import note, say
from pipeline.settings import Settings

Kind = Literal["complaint", "idea", "question", "praise", "other"]


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command("correct")(correct)


def correct(
    message: Annotated[str, typer.Argument(help="The message, by its id or PLATFORM/ID.", show_default=False)],
    kind: Annotated[Kind | None, typer.Argument(help="What it is.", show_default=False)] = None,
    *,
    clear: Annotated[bool, typer.Option("--clear", help="Take the correction back.")] = False,
    by: By = "unknown",
) -> None:
    """Say what kind a message is, where the program called it wrong.

    It is written to the database and no command of the space: it moves no message and changes no ticket, and what was
    read already stays as it was read until `groundswell rebuild --refit`. With kinds.learn_from_corrections the embed
    stage learns it within minutes, for the messages of this space that come from then on. It goes when its message is
    erased; a message that is edited afterwards teaches nothing until it is corrected anew.

    Example: groundswell correct discord/1180 idea

    Example: groundswell correct discord/1180 --clear
    """
    # Imported here: it takes scikit-learn along, seconds that only this command should pay.
    from pipeline.store.corrections import correct as keep

    if (kind is None) != clear:
        raise typer.BadParameter("name the kind, or take a correction back with --clear")
    settings = Settings.load()
    done = with_database(
        settings, lambda database: keep(database, settings.space, message, kind, by, datetime.now(UTC))
    )
    if kind is None:
        say(f"message {done.ref}: no longer {done.before}" if done.before else f"message {done.ref} was not corrected")
        return
    say(f"message {done.ref}: {kind}; it had been called {done.before or done.called}")
    if not settings.kinds.learn_from_corrections:
        note("kept, but nothing learns from it yet: kinds.learn_from_corrections is off")
