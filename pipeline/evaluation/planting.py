"""Groups planted into chatter, seed by seed: the files around `pipeline.evaluation.planted`."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from connectors.archive_fields import parse_time
from pipeline.dry_run import Progress, dry_run
from pipeline.embed import Reader
from pipeline.errors import FatalError, SkippableError
from pipeline.evaluation.planted import Garden, Harvest, Said, harvest, plant
from pipeline.evaluation.reading import read_rows
from pipeline.settings import Settings

NO_TIME = "lines without id or time"


def read_chatter(path: Path, left_out: Counter[str]) -> list[Said]:
    """Return the messages of an archive; count in `left_out` what is not taken as it is.

    Raises
    ------
    FatalError
        When the file cannot be read.
    """
    said = []
    for row in read_rows(path, left_out):
        try:
            at = parse_time(row["time"])
            author = row.get("author") or row.get("user")
            author = None if author is None else str(author)
            said.append(Said(str(row["id"]), row["text"], at, author, str(row.get("source") or "archive")))
        except (KeyError, SkippableError):
            left_out[NO_TIME] += 1
    return said


def read_groups(path: Path, left_out: Counter[str]) -> dict[str, list[str]]:
    """Return the different texts of each label, in the file's order.

    Raises
    ------
    FatalError
        When the file cannot be read.
    """
    groups: dict[str, list[str]] = {}
    for row in read_rows(path, left_out):
        if row.get("label") not in {None, ""}:
            groups.setdefault(str(row["label"]), []).append(row["text"])
    return {name: list(dict.fromkeys(texts)) for name, texts in groups.items()}


def run_planted(
    data: Path,
    chatter: Path,
    settings: Settings,
    reader: Reader,
    threshold: int,
    seeds: int,
    progress: Progress | None = None,
) -> Iterator[tuple[Harvest, dict[str, int]]]:
    """Yield what came of each seed, and what of the files was left out.

    Raises
    ------
    FatalError
        When a file cannot be read, or does not do to be planted or planted into.
    """
    left_out: Counter[str] = Counter()
    soil, groups = read_chatter(chatter, left_out), read_groups(data, left_out)
    for seed in range(seeds):
        began = time.monotonic()
        garden = plant(soil, groups, seed)
        with tempfile.TemporaryDirectory(prefix="groundswell-planted-") as folder:
            archive = Path(folder) / "planted.jsonl"
            _write(archive, garden)
            result = asyncio.run(dry_run(settings, archive, reader, progress))
        refused = {f"refused: {reason}": 1 for _, reason in result.reading.refused}
        tried = result.tried
        yield harvest(garden, tried, threshold, seed, time.monotonic() - began), dict(left_out) | refused


def _write(path: Path, garden: Garden) -> None:
    try:
        with path.open("w", encoding="utf-8") as file:
            for one in garden.messages:
                file.write(json.dumps(one.row()) + "\n")
    except OSError as exc:
        raise FatalError(f"cannot write {path}: {exc.strerror or exc}") from exc
