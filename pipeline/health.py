"""`/metrics` and `/healthz` of `groundswell run`: the stages' metrics added up, and what only the parent sees."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from pipeline import metrics
from pipeline.background import in_daemon_thread
from pipeline.broker_view import stage_lags
from pipeline.errors import FatalError, PipelineError
from pipeline.store.database import Database
from pipeline.store.reports import sizes
from pipeline.supervisor import StageStatus

REFRESH_S: Final = 15.0
STARTING_S: Final = 120.0
"""A stage may take so long to load its model before its first heartbeat."""
SILENT_S: Final = 60.0
"""A heartbeat older than this is no sign of life."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StageHealth:
    """One stage in `/healthz`."""

    up: bool
    restarts: int
    heartbeat_age_s: float | None
    """None before the first heartbeat."""


class Health(Collector):
    """Collects the children's metrics and the parent's own; says how the stages are.

    Parameters
    ----------
    folder : Path
        The children's `PROMETHEUS_MULTIPROC_DIR`.
    stages : callable
        How the stages stand now.
    """

    def __init__(self, folder: Path, stages: Callable[[], list[StageStatus]]) -> None:
        self._folder = folder
        self._stages = stages
        self._parents: list[Metric] = []

    def set_from_parent(self, parents: list[Metric]) -> None:
        """Replace what the parent measured; it stands for the children's metrics of the same name."""
        self._parents = parents

    def collect(self) -> Iterator[Metric]:
        """Yield every metric once."""
        parents = [*self._parents, *self._of_stages()]
        yield from parents
        own = {metric.name for metric in parents}
        yield from (metric for metric in self._of_children() if metric.name not in own)

    def stages(self) -> dict[str, StageHealth]:
        """Return the health of each stage."""
        beats = {
            sample.labels["stage"]: sample.value
            for metric in self._of_children()
            if metric.name == _name(metrics.HEARTBEAT)
            for sample in metric.samples
        }
        now = time.time()
        return {status.stage: _health(status, beats.get(status.stage), now) for status in self._stages()}

    def _of_children(self) -> Iterable[Metric]:
        collector = MultiProcessCollector(None, str(self._folder))  # type: ignore[no-untyped-call]
        return list(collector.collect())  # type: ignore[no-untyped-call]

    def _of_stages(self) -> list[Metric]:
        up = GaugeMetricFamily("groundswell_stage_up", "Whether the stage's process runs", labels=["stage"])
        restarts = GaugeMetricFamily("groundswell_stage_restarts", "Restarts since `run` began", labels=["stage"])
        for status in self._stages():
            up.add_metric([status.stage], float(status.pid is not None))
            restarts.add_metric([status.stage], float(status.restarts))
        return [up, restarts]


def _health(status: StageStatus, beat: float | None, now: float) -> StageHealth:
    age = now - beat if beat is not None else None
    # The last process's heartbeat says nothing about this one.
    fresh = beat is not None and beat >= status.started and now - beat < SILENT_S
    starting = now - status.started < STARTING_S and (beat is None or beat < status.started)
    up = status.pid is not None and (fresh or starting)
    return StageHealth(up, status.restarts, round(age, 1) if age is not None else None)


class HealthServer:
    """Serves a `Health` over HTTP in threads of its own, until closed."""

    def __init__(self, health: Health, host: str, port: int) -> None:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(health)

        class Handler(_Handler):
            collected = registry
            asked = health

        try:
            self._server = ThreadingHTTPServer((host, port), Handler)
        except OSError as exc:
            raise FatalError(
                f"cannot serve metrics on {host}:{port}: {exc.strerror}. Another groundswell may run; "
                f"else set metrics.port (GROUNDSWELL_METRICS__PORT), 0 for any free port"
            ) from exc
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True, name="health").start()

    @property
    def url(self) -> str:
        """Where it is served, without a path."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def close(self) -> None:
        """Stop serving and free the port."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    collected: CollectorRegistry
    asked: Health

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            encode, content_type = choose_encoder(self.headers.get("Accept", ""))
            self._answer(200, content_type, encode(self.collected))
        elif path == "/healthz":
            stages = self.asked.stages()
            well = all(stage.up for stage in stages.values())
            body = {"ok": well, "stages": {name: asdict(stage) for name, stage in stages.items()}}
            self._answer(200 if well else 503, "application/json", json.dumps(body, indent=1).encode())
        else:
            self._answer(404, "text/plain; charset=utf-8", b"there is /metrics and /healthz\n")

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class's name)
        """Say nothing: a scrape is no event."""


async def keep_fresh(health: Health, bootstrap: str, prefix: str, database: Database, stages: Iterable[str]) -> None:
    """Measure lag, clusters and pool every 15 seconds until cancelled; what cannot be measured is left out."""
    names = list(stages)
    while True:
        fresh: list[Metric] = []
        try:
            fresh.append(await in_daemon_thread(lambda: _lag(bootstrap, prefix, names)))
            fresh.extend(await _spaces(database))
        except PipelineError as exc:
            # The gauges vanish rather than stand still: an alert on absence sees it.
            log.debug("not measured", reason=str(exc))
        health.set_from_parent(fresh)
        await asyncio.sleep(REFRESH_S)


def _lag(bootstrap: str, prefix: str, stages: Iterable[str]) -> Metric:
    family = _family(metrics.LAG, ["stage", "topic", "partition"])
    for lag in stage_lags(bootstrap, prefix, stages):
        family.add_metric([lag.stage, lag.topic, str(lag.partition)], float(lag.records))
    return family


async def _spaces(database: Database) -> list[Metric]:
    found = await sizes(database)
    clusters, pool = _family(metrics.CLUSTERS, ["space"]), _family(metrics.POOL, ["space"])
    for space, size in found.items():
        clusters.add_metric([space], float(size.clusters))
        pool.add_metric([space], float(size.pool))
    return [clusters, pool]


def _family(gauge: Collector, labels: list[str]) -> GaugeMetricFamily:
    described = _described(gauge)
    return GaugeMetricFamily(described.name, described.documentation, labels=labels)


def _name(metric: Collector) -> str:
    return _described(metric).name


def _described(metric: Collector) -> Metric:
    return next(iter(metric.collect()))
