"""`broker start|stop|status`: the embedded broker on its own."""

from __future__ import annotations

import typer

from pipeline.cli.context import embedded_broker
from pipeline.cli.screen import note, say
from pipeline.errors import FatalError
from pipeline.settings import Settings

broker = typer.Typer(
    help="Start or stop the embedded Apache Kafka.\n\n"
    "One Java process for the data directory, on 127.0.0.1 only.\n\n"
    "Example: groundswell broker start",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.add_typer(broker, name="broker")


@broker.command()
def start() -> None:
    """Start the embedded broker and leave it running.

    Fetches Kafka the first time, 44 MB.

    Example: groundswell broker start
    """
    settings = _own()
    status = embedded_broker(settings).start(on_progress=note)
    say(f"Kafka {status.version} runs at {status.bootstrap} (process {status.pid}, data in {status.data_dir})")


@broker.command()
def stop() -> None:
    """Stop the embedded broker; what it holds stays.

    Example: groundswell broker stop
    """
    one = embedded_broker(_own())
    if not one.status().running:
        say("the embedded broker does not run")
    elif one.stop():
        say("the embedded broker has stopped")
    else:
        say("the embedded broker did not stop in time and was killed; nothing that was acknowledged is lost")


@broker.command()
def status() -> None:
    """Say whether the embedded broker runs.

    And where; exit code 1 when it does not.

    Example: groundswell broker status
    """
    found = embedded_broker(_own()).status()
    if not found.running:
        say(f"the embedded broker does not run (data in {found.data_dir}): groundswell broker start")
        raise typer.Exit(1)
    say(
        f"Kafka {found.version} runs at {found.bootstrap} for {found.uptime_s or 0:.0f} s "
        f"(process {found.pid}, data in {found.data_dir})"
    )


def _own() -> Settings:
    settings = Settings.load()
    if settings.kafka.bootstrap is not None:
        raise FatalError(
            f"kafka.bootstrap is set to {settings.kafka.bootstrap}: that broker is used, and it is not ours to start "
            f"or stop. Unset it to use the embedded one"
        )
    return settings
