"""The jars of the embedded Kafka: fetched once, proven before every start.

`data/kafka-jars.sha256` locks every jar as `SHA256  group:artifact:version`, so a fetch resolves nothing:
what runs is byte for byte what was tested. `resolve_lock()` writes that file anew for another version.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from pipeline.broker_process import hold
from pipeline.errors import FatalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

KAFKA_VERSION = "4.3.1"
# Kafka brings slf4j-api 1.7 and no binding: without this one the broker runs and logs nothing at all.
_LOG4J_VERSION = "2.25.4"
# jgo's "!" keeps a jar's own dependencyManagement out of the resolution. Without it log4j's downgrades
# kafka-clients to 3.9.1 and several more, which Maven does not do.
_ROOTS = (
    f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}!",
    f"org.apache.logging.log4j:log4j-slf4j-impl:{_LOG4J_VERSION}!",
)
_FETCH_TIMEOUT_S = 60
_MARKER = "verified.json"


def silent(message: str) -> None:
    """The progress callback that says nothing."""


@dataclass(frozen=True, slots=True)
class Jar:
    """One locked jar."""

    sha256: str
    coordinate: str  # group:artifact:version

    @property
    def filename(self) -> str:
        """Name of the file, unique among the locked jars."""
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"


def parse_lock(text: str) -> tuple[Jar, ...]:
    """The jars of a lock file, in its order."""
    return tuple(Jar(*line.split()) for line in text.splitlines() if line.strip())


def locked_jars() -> tuple[Jar, ...]:
    """The jars that this version of groundswell runs."""
    lock = resources.files("pipeline").joinpath("data", "kafka-jars.sha256")
    return parse_lock(lock.read_text(encoding="ascii"))


def default_cache_dir() -> Path:
    """Where jars are kept unless told otherwise; shared by all data directories of a user."""
    return Path(platformdirs.user_cache_dir("groundswell")) / f"kafka-{KAFKA_VERSION}"


def ensure_jars(
    cache_dir: Path,
    on_progress: Callable[[str], None] = silent,
    jars: Iterable[Jar] | None = None,
) -> tuple[Path, ...]:
    """Paths of all `jars` (the locked ones) in `cache_dir`, each with its locked sha256; fetched if missing.

    Safe to interrupt and to run from several processes at once: a jar gets its name after it was verified.
    FatalError names a jar that is not what the lock says, or that cannot be fetched.
    A jar whose size and modification time are those of its last verification is not read again.
    """
    wanted = tuple(jars) if jars is not None else locked_jars()
    paths = tuple(cache_dir / jar.filename for jar in wanted)
    if _fingerprints(wanted, paths) == _read_marker(cache_dir):
        return paths
    cache_dir.mkdir(parents=True, exist_ok=True)
    on_waiting = "waiting for another groundswell that fetches Kafka"
    with hold(cache_dir / "lock", on_wait=lambda: on_progress(on_waiting)):
        missing = [jar for jar in wanted if not (cache_dir / jar.filename).exists()]
        for jar in wanted:
            if jar not in missing:
                _verify(jar, cache_dir / jar.filename)
        if missing:
            _fetch(missing, cache_dir, on_progress)
        marker = json.dumps(_fingerprints(wanted, paths), indent=1)
        (cache_dir / _MARKER).write_text(marker, encoding="utf-8")
    return paths


def resolve_lock(work_dir: Path) -> str:
    """A fresh lock file's text for `_ROOTS`, resolved and downloaded into `work_dir`.

    For whoever moves to another version: compare the result with Maven's own `dependency:copy-dependencies`.
    """
    from jgo.maven import MavenContext

    context = MavenContext(repo_cache=work_dir, timeout=_FETCH_TIMEOUT_S)
    inputs, transitive = context.resolver.resolve([context.create_dependency(root) for root in _ROOTS])
    lines = []
    for dependency in [*inputs, *transitive]:
        coordinate = f"{dependency.groupId}:{dependency.artifactId}:{dependency.version}"
        lines.append(f"{_sha256(dependency.artifact.resolve())}  {coordinate}\n")
    return "".join(sorted(lines, key=lambda line: line.split()[1]))


def _fetch(jars: list[Jar], cache_dir: Path, on_progress: Callable[[str], None]) -> None:
    # Imported here: half a second that only a first start should pay.
    from jgo.maven import MavenContext

    for leftover in cache_dir.glob("fetch-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=cache_dir, prefix="fetch-") as scratch:
        context = MavenContext(repo_cache=Path(scratch), timeout=_FETCH_TIMEOUT_S)
        size = 0
        for number, jar in enumerate(jars, start=1):
            on_progress(f"fetching Kafka {KAFKA_VERSION}: jar {number} of {len(jars)}, {size / 1e6:.0f} MB")
            try:
                fetched = context.create_dependency(jar.coordinate).artifact.resolve()
            except (RuntimeError, OSError) as exc:
                raise FatalError(
                    f"cannot fetch {jar.coordinate} from Maven Central: {exc}. Check the network "
                    f"(HTTPS_PROXY is honoured) and start again: what was fetched is kept. Without network, "
                    f"copy the jars named in pipeline/data/kafka-jars.sha256 to {cache_dir}."
                ) from exc
            _verify(jar, fetched)
            size += fetched.stat().st_size
            os.replace(fetched, cache_dir / jar.filename)
    on_progress(f"fetched Kafka {KAFKA_VERSION}: {len(jars)} jars, {size / 1e6:.0f} MB")


def _verify(jar: Jar, path: Path) -> None:
    found = _sha256(path)
    if found != jar.sha256:
        raise FatalError(
            f"{jar.filename} is not the jar that was tested: expected sha256 {jar.sha256}, found {found}. "
            f"It was not used. Delete {path} if it is there and start again to fetch it anew; if it differs "
            f"again, something between here and Maven Central changes it."
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fingerprints(jars: tuple[Jar, ...], paths: tuple[Path, ...]) -> Mapping[str, list[str | int]] | None:
    """What the marker holds: sha256, size and modification time by file name; None if a jar is missing."""
    with contextlib.suppress(FileNotFoundError):
        stats = [path.stat() for path in paths]
        return {
            jar.filename: [jar.sha256, stat.st_size, stat.st_mtime_ns] for jar, stat in zip(jars, stats, strict=True)
        }
    return None


def _read_marker(cache_dir: Path) -> object:
    """The marker's content, or a value that equals no fingerprints."""
    with contextlib.suppress(OSError, ValueError):
        return json.loads((cache_dir / _MARKER).read_text(encoding="utf-8"))
    return "no marker"
