"""The part of `codeact.telemetry` that uses the OpenTelemetry packages; imported only when telemetry is on."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

__all__ = ["OpenTelemetry"]

FLUSH_MS = 5_000


class _Span:
    """One span of the SDK."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def set(self, attributes: Mapping[str, Any]) -> None:
        for name, value in attributes.items():
            if value is not None:
                self._span.set_attribute(name, value)


class OpenTelemetry:
    """OpenTelemetry providers that are not the global ones, so that only our own spans are traced.

    The SDK reads the `OTEL_*` variables, such as the exporters' endpoints, `OTEL_RESOURCE_ATTRIBUTES`,
    `OTEL_TRACES_SAMPLER` and `OTEL_BSP_*`. An exporter named `none` exports nothing.
    """

    def __init__(self, environ: Mapping[str, str], *, version: str) -> None:
        name = {} if environ.get("OTEL_SERVICE_NAME") else {"service.name": "codeact"}
        resource = Resource.create({"service.version": version, **name})
        self._traces, self._metrics = TracerProvider(resource=resource), MeterProvider(resource=resource)
        if environ.get("OTEL_TRACES_EXPORTER", "otlp") != "none":
            self._traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        if environ.get("OTEL_METRICS_EXPORTER", "otlp") != "none":
            reader = PeriodicExportingMetricReader(OTLPMetricExporter())
            self._metrics = MeterProvider(resource=resource, metric_readers=[reader])
        self._tracer = self._traces.get_tracer("codeact", version)
        meter = self._metrics.get_meter("codeact", version)
        self._tokens = meter.create_histogram("gen_ai.client.token.usage", "{token}")
        self._durations = meter.create_histogram("gen_ai.client.operation.duration", "s")
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def span(self, name: str, attributes: Mapping[str, Any], *, client: bool = False) -> Iterator[_Span]:
        kind = trace.SpanKind.CLIENT if client else trace.SpanKind.INTERNAL
        given = {name: value for name, value in attributes.items() if value is not None}
        with self._tracer.start_as_current_span(
            name, kind=kind, attributes=given, record_exception=False, set_status_on_exception=False
        ) as opened:
            try:
                yield _Span(opened)
            except BaseException as error:  # The exception's message may contain a user's text.
                opened.set_attribute("error.type", str(getattr(error, "code", type(error).__name__)))
                if isinstance(error, Exception):
                    opened.set_status(trace.StatusCode.ERROR)
                raise

    def count_duration(self, seconds: float, attributes: Mapping[str, Any]) -> None:
        self._durations.record(seconds, dict(attributes))

    def count_tokens(self, tokens: Mapping[str, int], model: str) -> None:
        for kind, count in tokens.items():
            attributes = {"gen_ai.operation.name": "chat", "gen_ai.request.model": model, "gen_ai.token.type": kind}
            self._tokens.record(count, attributes)

    def headers(self) -> dict[str, str]:
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier)
        return carrier

    @contextmanager
    def remote(self, found: Mapping[str, str]) -> Iterator[None]:
        token = context.attach(self._propagator.extract(found))
        try:
            yield
        finally:
            context.detach(token)

    def trace_ids(self) -> dict[str, str]:
        current = trace.get_current_span().get_span_context()
        if not current.is_valid:
            return {}
        return {"trace_id": f"{current.trace_id:032x}", "span_id": f"{current.span_id:016x}"}

    def close(self) -> None:
        for provider in (self._traces, self._metrics):
            provider.force_flush(FLUSH_MS)
            provider.shutdown()
