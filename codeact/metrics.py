"""Counts ended responses, and renders all metrics in Prometheus' text format.

Names, units and types follow https://prometheus.io/docs/practices/naming/. No label has a value that a client chooses.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

import msgspec
from prometheus_client import CollectorRegistry, Counter, GCCollector, Histogram, Info, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from codeact.events import Response
from sandbox_pool.pool.stats import PoolStats

__all__ = ["CONTENT_TYPE", "Family", "Metrics", "Moment", "as_text"]

CONTENT_TYPE = CONTENT_TYPE_LATEST
WAITS_S = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
DURATIONS_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)
TIMES = {
    "sandbox_wait_s": ("codeact_response_sandbox_wait_seconds", "Wait of a response for its sandbox.", WAITS_S),
    "first_token_s": ("codeact_response_first_token_seconds", "Request accepted to first token.", WAITS_S),
    "first_output_s": ("codeact_response_first_output_seconds", "Request accepted to first output of code.", WAITS_S),
    "total_s": ("codeact_response_duration_seconds", "Request accepted to end of the response.", DURATIONS_S),
}
"""For each field of a response's timings: the histogram's name, help and buckets.

What did not happen is not observed.
"""


@dataclass(frozen=True, slots=True)
class Moment:
    """A snapshot of the server, as a collector for the client library.

    None: that component is not open or not answering.
    """

    responses: int
    subscribers: int
    pool: PoolStats | None
    store_ping_s: float | None
    loop_lag_s: float
    loop_stalls: int
    failing: Collection[str]
    backend: str = ""

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("codeact_responses_in_progress", "Responses under way here.", self.responses)
        yield GaugeMetricFamily("codeact_event_subscribers", "Readers of their events.", self.subscribers)
        yield GaugeMetricFamily("codeact_store_up", "1 if the database answers.", float(self.store_ping_s is not None))
        if self.store_ping_s is not None:
            help_ = "Round trip of a ping to the database."
            yield GaugeMetricFamily("codeact_store_ping_seconds", help_, self.store_ping_s)
        help_ = "Worst lag of the event loop in the last 15 s."
        yield GaugeMetricFamily("codeact_event_loop_lag_seconds", help_, self.loop_lag_s)
        help_ = "How often the event loop stood still for 5 s or more."
        yield CounterMetricFamily("codeact_event_loop_stalls", help_, value=self.loop_stalls)
        help_ = "Background tasks that have failed and not run well since."
        yield GaugeMetricFamily("codeact_failing_tasks", help_, len(self.failing))
        if self.pool is not None:
            yield from _of_pool(self.pool, self.backend)


class Family(msgspec.Struct, array_like=True):
    """One metric with its samples, each a name with labels and a value: what one worker sends to another."""

    name: str
    documentation: str
    type: str
    samples: list[tuple[str, dict[str, str], float]]

    @classmethod
    def of(cls, metric: Metric) -> "Family":
        samples = [(sample.name, dict(sample.labels), float(sample.value)) for sample in metric.samples]
        return cls(metric.name, metric.documentation, metric.type, samples)


def as_text(workers: Mapping[int, Sequence[Family]]) -> bytes:
    """Renders the metrics of these workers, by their numbers, as text with the media type `CONTENT_TYPE`.

    Each sample gets the label `worker`, unless the one worker has the number 0.
    """
    merged: dict[str, Metric] = {}
    for number, families in workers.items():
        labels = {"worker": str(number)} if number else {}
        for family in families:
            metric = merged.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            for name, own, value in family.samples:
                metric.add_sample(name, own | labels, value)
    return generate_latest(_Collected(list(merged.values())))


@dataclass(frozen=True, slots=True)
class _Collected:
    metrics: list[Metric]

    def collect(self) -> Iterator[Metric]:
        yield from self.metrics


class Metrics:
    """The metrics of one server process. The counters start at 0 with the process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        Info("codeact", "This server.", registry=self._registry).info({"version": version("codeact")})
        self._responses = Counter(
            "codeact_responses", "Responses that ended, by their status.", ["status"], registry=self._registry
        )
        self._tokens = Counter(
            "codeact_tokens",
            "Tokens of ended responses: input that was not cached, cached_input, output.",
            ["kind"],
            registry=self._registry,
        )
        self._times = {
            field: Histogram(name, help_, buckets=buckets, registry=self._registry)
            for field, (name, help_, buckets) in TIMES.items()
        }

    def ended(self, response: Response) -> None:
        """Counts a response that has ended. Call it once for each response."""
        self._responses.labels(response.status).inc()
        if (usage := response.usage) is not None:
            cached = usage.input_tokens_details.cached_tokens
            self._tokens.labels("input").inc(max(0, usage.input_tokens - cached))
            self._tokens.labels("cached_input").inc(cached)
            self._tokens.labels("output").inc(usage.output_tokens)
        for field, histogram in self._times.items():
            if (seconds := getattr(response.ledger, field)) is not None:
                histogram.observe(seconds)

    def families(self, moment: Moment) -> list[Family]:
        """All metrics of this process."""
        return [Family.of(metric) for collector in (self._registry, moment) for metric in collector.collect()]


def _of_pool(pool: PoolStats, backend: str) -> Iterator[Metric]:
    """The class is `standard` for sandboxes of the configured size, else `other`, whose warm ones are not counted."""
    sandboxes = GaugeMetricFamily(
        "codeact_pool_sandboxes", "Sandboxes, by their state.", labels=["backend", "class", "state"]
    )
    for state in ("warm", "starting", "leased", "removing"):
        other = pool.other_starting if state == "starting" else pool.other_leased if state == "leased" else 0
        sandboxes.add_metric([backend, "standard", state], getattr(pool, state) - other)
        if state in ("starting", "leased"):
            sandboxes.add_metric([backend, "other", state], other)
    yield sandboxes
    target = GaugeMetricFamily("codeact_pool_target_sandboxes", "How many should be warm.", labels=["backend"])
    target.add_metric([backend], pool.target)
    yield target
    waiting = GaugeMetricFamily("codeact_pool_waiting", "Conversations that wait for a sandbox.", labels=["backend"])
    waiting.add_metric([backend], pool.waiting)
    yield waiting
    acquires = CounterMetricFamily(
        "codeact_pool_acquires", "Sandboxes asked for, by what came of it.", labels=["backend", "result"]
    )
    for result, count in (("hit", pool.hits), ("miss", pool.misses), ("turned_away", pool.turned_away)):
        acquires.add_metric([backend, result], count)
    yield acquires
    help_ = "Starts that failed, kernels that died while warm, failed removals."
    failures = CounterMetricFamily("codeact_pool_failures", help_, labels=["backend"])
    failures.add_metric([backend], pool.failures)
    yield failures
    help_ = "Wait for a sandbox, over the last 1,000 that were lent."
    waits = Metric("codeact_pool_acquire_seconds", help_, "summary")
    for quantile, wait_ms in (
        ("0.5", pool.acquire_p50_ms),
        ("0.95", pool.acquire_p95_ms),
        ("0.99", pool.acquire_p99_ms),
    ):
        if wait_ms is not None:
            waits.add_sample(waits.name, {"backend": backend, "quantile": quantile}, wait_ms / 1000)
    yield waits
