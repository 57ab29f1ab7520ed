"""Runs fits in a process of their own: HDBSCAN holds the interpreter's lock for seconds."""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection, get_context, parent_process
from typing import Protocol

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from models.clusterer import Clusterer, ClusterFit

NICE = 5
WARM_UP = 64
"""Vectors of the first fit, which is thrown away."""


class Fitter(Protocol):
    """Starts a fit and promises its result."""

    def submit(self, vectors: npt.NDArray[np.float32]) -> Future[ClusterFit]:
        """Begin to fit `vectors` (n, d) float32 unit rows."""

    def close(self) -> None:
        """Give up what runs and free the process."""


class ProcessFitter:
    """A single spawned process that ends with its parent, however the parent ends."""

    def __init__(self, clusterer: Clusterer) -> None:
        self._clusterer = clusterer
        self._pool = self._new_pool()

    def _new_pool(self) -> ProcessPoolExecutor:
        pool = ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn"), initializer=_begin)
        # Its imports take seconds: the first fit should not wait for them.
        pool.submit(self._clusterer.fit, np.eye(WARM_UP, dtype=np.float32))
        return pool

    def submit(self, vectors: npt.NDArray[np.float32]) -> Future[ClusterFit]:
        """Begin a fit; a process that was killed meanwhile is replaced first."""
        try:
            return self._pool.submit(self._clusterer.fit, vectors)
        except BrokenProcessPool:
            self._pool = self._new_pool()
            return self._pool.submit(self._clusterer.fit, vectors)

    def close(self) -> None:
        """End the process without waiting for a running fit."""
        processes = list((self._pool._processes or {}).values())
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()


class InlineFitter:
    """Fits at once in this process: for dry runs and for tests of the fold."""

    def __init__(self, clusterer: Clusterer) -> None:
        self._clusterer = clusterer

    def submit(self, vectors: npt.NDArray[np.float32]) -> Future[ClusterFit]:
        """Return the finished fit."""
        future: Future[ClusterFit] = Future()
        # One thread, as the spawned process has: sums over more of them may round otherwise.
        with threadpool_limits(1):
            future.set_result(self._clusterer.fit(vectors))
        return future

    def close(self) -> None:
        """Nothing to free."""


def _begin() -> None:
    """Stay out of the way of what people wait for, and end with the parent."""
    os.nice(NICE)
    threadpool_limits(1)
    _end_with_parent()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    sentinel = parent.sentinel

    def watch() -> None:
        connection.wait([sentinel])
        os._exit(0)

    threading.Thread(target=watch, daemon=True, name="parent-watch").start()
