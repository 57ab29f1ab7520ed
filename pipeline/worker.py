"""One stage in the foreground: `python -m pipeline.worker embed|cluster|file`.

Exit codes: 0 after SIGTERM or SIGINT; 70 when the parent should start it again; 78 when only a person can help, with
the remedy as the last line on stderr. `pipeline.supervisor` is the parent.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
from typing import Final

import faust
import structlog

from models.clusterer import DensityClusterer
from models.embedder import ModelFilesError, SentenceEmbedder
from pipeline.app import cluster_app, embed_app, file_app
from pipeline.backlog import KnownIssues
from pipeline.embed import Reader
from pipeline.errors import FatalError, RetriableError
from pipeline.file_issues import Sink
from pipeline.fitter import ProcessFitter
from pipeline.learning import Learner
from pipeline.lifeline import end_with_parent
from pipeline.owner import Owner
from pipeline.settings import STAGES, Settings, Stage
from pipeline.shape import FATAL_EXIT_CODE, RESTART_EXIT_CODE
from pipeline.store.database import Database
from pipeline.topics import broker_id
from pipeline.trackers.factory import new_tracker

REPEATED_LOG_S: Final = 10.0


class _Sparse(logging.Filter):
    """Let a message that a library repeats without pause through once in ten seconds.

    With the broker away aiokafka 0.14 logs tens of thousands of lines a minute (measured).
    """

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[tuple[str, int], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        key = (record.pathname, record.lineno)
        now = time.monotonic()
        if now - self._last.get(key, -REPEATED_LOG_S) < REPEATED_LOG_S:
            return False
        self._last[key] = now
        return True


class _Worker(faust.Worker):
    """Faust's worker without its own logging set-up and its spinner: the screen belongs to the parent."""

    def _setup_logging(self) -> None:
        self.spinner = None


def configure_logging(level: str) -> None:
    """Log to stderr, one line an event; libraries only from warnings on, and sparsely."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_Sparse())
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )


def build(stage: Stage, settings: Settings, bootstrap: str, instance: int) -> faust.App:
    """Return the stage's app with what it needs, loaded.

    Raises
    ------
    FatalError
        When model files, database or tracker settings are wrong.
    """
    member = f"{stage}-{instance}"
    if stage == "embed":
        learner = _learner(settings)
        reader = Reader.load(_embedder(settings)) if learner is None else learner.reader
        return embed_app(settings, bootstrap, reader, broker_id(bootstrap), member, learner)
    database = Database(settings.database_url)
    asyncio.run(_check(database))
    if stage == "cluster":
        fitter = ProcessFitter(DensityClusterer(min_cluster_size=settings.clusters.min_cluster_size))
        owner = Owner(f"{settings.kafka.prefix}{member}", database, settings.clusters.fold(), fitter)
        return cluster_app(settings, bootstrap, owner, database, member)
    tracker = new_tracker(settings)
    known = None
    if settings.reads_backlog:
        known = KnownIssues(database, tracker, _embedder(settings), settings.policy.backlog)
    sink = Sink(database, tracker, settings.policy, settings.mode, known=known)
    return file_app(settings, bootstrap, sink, member)


async def _check(database: Database) -> None:
    try:
        await database.require_revision()
    finally:
        await database.close()


def _embedder(settings: Settings) -> SentenceEmbedder:
    try:
        return SentenceEmbedder.load(settings.model.name, settings.model.sha256, threads=settings.model.threads)
    except ModelFilesError as exc:
        raise FatalError(str(exc)) from exc


def _learner(settings: Settings) -> Learner | None:
    """Return what learns from the space's corrections, having learned those that there are; None where unwanted."""
    if not settings.kinds.learn_from_corrections:
        return None
    database = Database(settings.database_url)

    async def look() -> Learner:
        # The connections belong to this loop, which ends here; Faust's takes its own.
        try:
            learner = Learner.load(database, settings.space, _embedder(settings))
            await learner.look()
        finally:
            await database.close()
        return learner

    asyncio.run(_check(database))
    return asyncio.run(look())


def main(argv: list[str] | None = None) -> None:
    """Run one stage until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.worker", description=__doc__)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--instance", type=int, default=0, help="number of this worker among those of its stage")
    arguments = parser.parse_args(argv)
    end_with_parent()
    try:
        settings = Settings.load()
        configure_logging(settings.log_level)
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        if settings.kafka.bootstrap is None:
            raise FatalError("kafka.bootstrap is not set: `groundswell run` starts the embedded broker and sets it")
        app = build(arguments.stage, settings, settings.kafka.bootstrap, arguments.instance)
    except FatalError as exc:
        print(f"{arguments.stage}: {exc}", file=sys.stderr)  # noqa: T201 (the parent shows this line to a person)
        sys.exit(FATAL_EXIT_CODE)
    except RetriableError as exc:
        print(f"{arguments.stage}: {exc}; starting again", file=sys.stderr)  # noqa: T201 (as above)
        sys.exit(RESTART_EXIT_CODE)
    _Worker(app, quiet=True, redirect_stdouts=False).execute_from_commandline()


if __name__ == "__main__":
    main()
