"""Metrics in the format of Prometheus: about the worker and its jobs, never about memories."""

from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from memoryhub.memories import word_index
from memoryhub.operations import worker_status
from memoryhub.operations.background_jobs import BACKGROUND_JOBS
from memoryhub.search import embedding_index

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
INDEX_LAGS: dict[str, Callable[[], float]] = {
    "words": word_index.measure_lag_seconds,
    "embeddings": embedding_index.measure_lag_seconds,
}
"""For each index that a background job keeps up: by how many seconds it is behind the memories."""


def render_metrics() -> bytes:
    """Return all metrics as text. All of them come from the database, so every web process returns the same."""
    registry = CollectorRegistry()
    registry.register(_HubCollector())
    return generate_latest(registry)


class _HubCollector(Collector):
    def collect(self) -> Iterator[Metric]:
        is_alive = worker_status.get_worker_status()["alive"]
        yield GaugeMetricFamily("memoryhub_worker_alive", "Whether a worker sends heartbeats.", value=is_alive)
        jobs = GaugeMetricFamily("memoryhub_jobs", "Background jobs in the queue.", labels=["job", "state"])
        failures = CounterMetricFamily("memoryhub_job_failures", "Failures of background jobs.", labels=["job"])
        for job in worker_status.list_jobs(job.name for job in BACKGROUND_JOBS):
            jobs.add_metric([job["name"], "waiting"], job["waiting"])
            jobs.add_metric([job["name"], "running"], job["running"])
            failures.add_metric([job["name"]], job["failures"])
        yield jobs
        yield failures
        lags = GaugeMetricFamily(
            "memoryhub_index_lag_seconds", "How far an index is behind the memories.", labels=["index"]
        )
        for name, measure_lag in INDEX_LAGS.items():
            lags.add_metric([name], measure_lag())
        yield lags
