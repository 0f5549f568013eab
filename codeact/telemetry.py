"""Traces and metrics with OpenTelemetry, following its conventions for generative AI. While off, it imports nothing of
it.

`configure` turns it on; only our own programs call it. Names: https://opentelemetry.io/docs/specs/semconv/gen-ai/.
Spans contain no text of users, models or code.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from codeact.errors import ConfigurationError
from codeact.model import Usage
from sandbox_pool.extras import install_command, missing_extras

if TYPE_CHECKING:
    from codeact.telemetry_otel import OpenTelemetry

__all__ = ["Span", "configure", "headers", "is_on", "model_call", "note_usage", "remote", "span", "trace_ids"]

ENDPOINTS = tuple(f"OTEL_EXPORTER_OTLP_{signal}ENDPOINT" for signal in ("", "TRACES_", "METRICS_"))

_telemetry: "OpenTelemetry | None" = None


class Span(Protocol):
    """An open span."""

    def set(self, attributes: Mapping[str, Any]) -> None:
        """Adds attributes, except those that are None."""


class _NoSpan:
    """Used in place of every span while telemetry is off."""

    def __enter__(self) -> "_NoSpan":
        return self

    def __exit__(self, *_: object) -> None: ...

    def set(self, attributes: Mapping[str, Any]) -> None: ...


_NO_SPAN = _NoSpan()


def configure(environ: Mapping[str, str], *, version: str) -> Callable[[], None] | None:
    """Turns telemetry on if `OTEL_EXPORTER_OTLP_ENDPOINT`, or that of one signal, is set.

    Returns a function that exports the rest and turns telemetry off, or None if there is nothing to export to. Call
    that function in a thread: it takes several seconds if nobody answers. Raises `ConfigurationError` if the extra is
    not installed, or for a protocol other than `http/protobuf`.
    """
    global _telemetry
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or not any(map(environ.get, ENDPOINTS)):
        return None
    protocol = environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    if protocol != "http/protobuf":
        text = f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol} is not supported; http/protobuf is, which collectors take too."
        raise ConfigurationError(text, param="OTEL_EXPORTER_OTLP_PROTOCOL")
    if missing_extras("otel"):
        text = f"OTEL_EXPORTER_OTLP_ENDPOINT needs packages that are not installed: {install_command('otel')}."
        raise ConfigurationError(text, param="OTEL_EXPORTER_OTLP_ENDPOINT")
    from codeact.telemetry_otel import OpenTelemetry

    opened = _telemetry = OpenTelemetry(environ, version=version)

    def close() -> None:
        global _telemetry
        _telemetry = None
        opened.close()

    return close


def is_on() -> bool:
    return _telemetry is not None


def span(name: str, attributes: Mapping[str, Any] | None = None) -> AbstractContextManager[Span]:
    """Opens a span below the current one. An exception that leaves it sets its status and `error.type`."""
    return _NO_SPAN if _telemetry is None else _telemetry.span(name, attributes or {})


@contextmanager
def model_call(model: str) -> Iterator[Span]:
    """The span of one model call. Its tokens and duration are also recorded as metrics."""
    if _telemetry is None:
        yield _NO_SPAN
        return
    attributes = {"gen_ai.operation.name": "chat", "gen_ai.request.model": model}
    began = time.monotonic()
    try:
        with _telemetry.span(f"chat {model}", attributes, client=True) as opened:
            yield opened
    finally:
        _telemetry.count_duration(time.monotonic() - began, attributes)


def note_usage(span: Span, model: str, usage: Usage | None) -> None:
    """Records a call's usage on its span and as a metric. None: the provider has not reported it."""
    if _telemetry is not None and usage is not None:
        tokens = {"input": usage.input_tokens, "output": usage.output_tokens}
        span.set({f"gen_ai.usage.{kind}_tokens": count for kind, count in tokens.items()})
        _telemetry.count_tokens(tokens, model)


def headers() -> dict[str, str]:
    """The headers that continue the current span on another server (W3C Trace Context); empty while
    telemetry is off.
    """
    return {} if _telemetry is None else _telemetry.headers()


def remote(found: Mapping[str, str]) -> AbstractContextManager[Any]:
    """Context manager: spans inside belong to the trace in these request headers, if they name one."""
    return _NO_SPAN if _telemetry is None else _telemetry.remote(found)


def trace_ids() -> dict[str, str]:
    """`trace_id` and `span_id` of the current span, for logs; empty if there is none."""
    return {} if _telemetry is None else _telemetry.trace_ids()
