"""How early: the measures of a dry run that stands in a folder."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.errors import FatalError
from pipeline.evaluation.early import Early, Message, Sign, aligned, measure
from pipeline.trial_files import ASSIGNMENTS, TICKETS, WATCHES


def read_changelog(path: Path, app: str) -> list[str]:
    """Return an app's changelog, one line a version.

    Raises
    ------
    FatalError
        When the file cannot be read, or has no such app.
    """
    try:
        apps = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise FatalError(f"cannot read {path}: {exc}") from exc
    if not isinstance(apps, dict) or not isinstance(apps.get(app), list):
        named = ", ".join(sorted(apps)) if isinstance(apps, dict) else "none"
        raise FatalError(f"{path} has no changelog of {app}; it has those of {named}")
    return [str(line) for line in apps[app]]


def _read(path: Path) -> list[dict[str, Any]]:
    opened = gzip.open(path, "rt") if path.suffix == ".gz" else path.open()
    with opened as lines:
        return [json.loads(line) for line in lines]


def _time(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def measure_dry_run(archive: Path, folder: Path, changelog: Sequence[str]) -> Early:
    """Return the measures of what `dry-run` wrote to a folder.

    Raises
    ------
    FatalError
        When a message has no time, a file is missing, or archive and changelog do not fit.
    """
    try:
        messages = [
            Message(str(m["id"]), str(m["text"]), _time(str(m["time"])), m.get("version")) for m in _read(archive)
        ]
        assignments = {str(a["message_id"]): a["cluster_id"] for a in _read(folder / ASSIGNMENTS)}
        signs = [Sign(str(t["cluster_id"]), _time(str(t["opened_at"])), "ticket") for t in _read(folder / TICKETS)]
        signs += [Sign(str(w["cluster_id"]), _time(str(w["at"])), "watch") for w in _read(folder / WATCHES)]
        return measure(messages, assignments, signs, aligned(messages, changelog))
    except KeyError as exc:
        raise FatalError(f"{archive}: a line without {exc.args[0]}; early warning needs id, text and time") from exc
    except OSError as exc:
        raise FatalError(f"cannot read {exc.filename}: {exc.strerror}; name the folder of a dry run of now") from exc
    except ValueError as exc:
        raise FatalError(f"{archive}: {exc}") from exc
