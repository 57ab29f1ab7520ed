"""Every metric, once: name, kind and meaning. Stages are processes of their own; `run` adds them up.

Counters survive a stage's restart (prometheus-client's multiprocess mode, set up by `pipeline.supervisor`).
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

RECORDS_IN = Counter("groundswell_records_in", "Records that a stage took from its topic", ["stage"])
RECORDS_OUT = Counter("groundswell_records_out", "Records or effects that a stage produced", ["stage"])
FAILURES = Counter("groundswell_failures", "Attempts of a stage that failed and were repeated", ["stage"])
DEAD_LETTERS = Counter("groundswell_dead_letters", "Records that a stage parked in the dead-letter topic", ["stage"])
BATCH_SECONDS = Histogram("groundswell_batch_seconds", "Time a stage took for one batch", ["stage"])
AGE_SECONDS = Histogram(
    "groundswell_age_seconds",
    "Time from when the broker appended a record until a stage was done with it",
    ["stage"],
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 86400),
)
LAG = Gauge(
    "groundswell_lag_records",
    "Records of a partition that a stage has yet to commit",
    ["stage", "topic", "partition"],
    multiprocess_mode="mostrecent",
)
CLUSTERS = Gauge("groundswell_clusters", "Live clusters of a space", ["space"], multiprocess_mode="mostrecent")
POOL = Gauge("groundswell_pool_messages", "Messages waiting in the pool", ["space"], multiprocess_mode="mostrecent")
FITS = Counter("groundswell_fits", "Fits that were applied", ["space"])
DECISIONS = Counter("groundswell_decisions", "Decisions about clusters by action and rule", ["action", "rule"])
TICKETS = Counter("groundswell_tickets", "Calls to the tracker by result", ["result"])
HEARTBEAT = Gauge(
    "groundswell_heartbeat_seconds",
    "When a stage's event loop last ran, seconds since 1970",
    ["stage"],
    multiprocess_mode="mostrecent",
)
