"""`check` and `settings`: is all as it must be, and what to do where it is not."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from rich.text import Text

from pipeline.checks import Finding, Verdict, examine
from pipeline.cli.screen import console, plain, print_json, shown, table
from pipeline.settings import Settings, settings_file, sources

_SIGNS = {Verdict.GOOD: ("ok  ", "green"), Verdict.WARNING: ("look", "yellow"), Verdict.BAD: ("BAD ", "red")}


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command("check")(check)
    app.command("settings")(settings)


def check(*, as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False) -> None:
    """Check everything, and say what to do.

    Settings, broker, topics, lag, database, model, languages, tracker; exit code 1 when one of them is bad. Changes
    nothing but the local tracker's empty tables. Each bad line says what to do.

    Example: groundswell check
    """
    found = asyncio.run(examine(Settings.load()))
    if as_json:
        print_json(found)
    else:
        for finding in found:
            _print(finding)
    if any(finding.verdict is Verdict.BAD for finding in found):
        raise typer.Exit(1)


def _print(finding: Finding) -> None:
    sign, style = _SIGNS[finding.verdict]
    line = Text.assemble((sign, style), "  ", (f"{finding.what:<10}", "bold"), "  ", plain(finding.detail))
    console().print(line, soft_wrap=True)
    if finding.remedy:
        console().print(Text(f"      {'':<10}  → {plain(finding.remedy)}", style=style), soft_wrap=True)


def settings() -> None:
    """Show every setting and where it came from.

    Secrets are hidden. One TOML file (./groundswell.toml, or the one GROUNDSWELL_CONFIG names), and over it
    GROUNDSWELL_* variables, two
    underscores for each level: GROUNDSWELL_POLICY__MIN_PEOPLE=12.

    Example: groundswell settings
    """
    grid = table("setting", "value", "from")
    for name, (value, origin) in sources(Settings.load()).items():
        grid.add_row(name, shown(value), shown(origin, style="" if origin != "default" else "dim"))
    console().print(grid)
    file = settings_file()
    where = str(file.absolute()) if file else "none (./groundswell.toml is not there)"
    console().print(shown(f"file: {where}", style="dim"))
