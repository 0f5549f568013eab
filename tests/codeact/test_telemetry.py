"""Traces and metrics over OTLP. A receiver parses them with the published protobuf schema (`opentelemetry-proto`)."""

import gzip
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import anyio
import pytest
import structlog
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from codeact import Agent, telemetry
from codeact.errors import CodeActError, ConfigurationError
from codeact.logs import configure as configure_logs
from codeact.models.openai_compatible.client import DirectModel
from codeact.server.traced_requests import TracedRequests
from tests.model_server import ModelServer

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Receiver:
    """A collector that parses what it receives."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.resources: list[dict[str, str]] = []
        self.metrics: set[str] = set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                receiver.take(self.path, body)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def take(self, path: str, body: bytes) -> None:
        if path == "/v1/traces":
            for traces in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.resources.append({each.key: each.value.string_value for each in traces.resource.attributes})
                self.spans += [span for scope in traces.scope_spans for span in scope.spans]
        elif path == "/v1/metrics":
            for found in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                self.metrics |= {metric.name for scope in found.scope_metrics for metric in scope.metrics}

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]


def attributes(span: Span) -> dict[str, Any]:
    values = {each.key: each.value for each in span.attributes}
    return {key: getattr(value, str(value.WhichOneof("value"))) for key, value in values.items()}


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    receiver = Receiver()
    thread = threading.Thread(target=receiver.server.serve_forever)
    thread.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    yield receiver
    receiver.server.shutdown()
    thread.join()
    receiver.server.server_close()


def test_an_answer_is_one_trace_from_the_run_to_model_sandbox_and_code(receiver: Receiver, tmp_path: Path) -> None:
    with ModelServer() as server:
        usage = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
        server.reply("<execute>\nprint('secret')\n</execute>", usage=usage)
        server.reply("Done.", usage=usage)
        close = telemetry.configure({"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}, version="1")
        assert close is not None
        try:
            model = DirectModel("m", model="m", api_base=server.base_url)
            with Agent(model, sandbox="process", data_dir=tmp_path) as agent:
                response = agent.run("a secret question").response
                agent._entered().call(model.close)
        finally:
            close()
        sent = [request.headers["traceparent"].split("-") for request in server.requests]
    (run,), (sandbox,), (code,) = map(
        receiver.named, ("invoke_agent codeact", "acquire sandbox", "execute_tool python")
    )
    calls = sorted(receiver.named("chat m"), key=lambda span: span.start_time_unix_nano)
    assert {span.trace_id for span in receiver.spans} == {run.trace_id}
    assert [run.parent_span_id, code.parent_span_id] == [b"", run.span_id]
    assert sandbox.parent_span_id in {call.span_id for call in calls}
    assert [call.kind for call in calls] == [Span.SPAN_KIND_CLIENT] * 2
    assert [(trace, span) for _, trace, span, _ in sent] == [
        (call.trace_id.hex(), call.span_id.hex()) for call in calls
    ]
    assert attributes(calls[1])["gen_ai.usage.input_tokens"] == 9
    told = attributes(run)
    assert told["gen_ai.operation.name"] == "invoke_agent"
    assert told["gen_ai.response.id"] == response.id
    assert told["gen_ai.request.model"] == "m"
    assert told["codeact.response.status"] == "completed"
    assert attributes(code)["codeact.code.status"] == "ok"
    assert "secret" not in str(receiver.spans)
    assert receiver.resources[0]["service.name"] == "codeact"
    assert receiver.metrics == {"gen_ai.client.token.usage", "gen_ai.client.operation.duration"}


def test_a_failure_is_told_by_its_code_alone(receiver: Receiver) -> None:
    close = telemetry.configure({"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}, version="1")
    assert close is not None
    with pytest.raises(CodeActError), telemetry.span("work"):
        raise CodeActError("with the user's words", code="odd")
    close()
    (span,) = receiver.named("work")
    assert attributes(span) == {"error.type": "odd"}
    assert (span.status.code, span.status.message, list(span.events)) == (2, "", [])
    assert not telemetry.is_on()


@pytest.mark.anyio
async def test_a_request_gives_the_trace_to_what_it_begins_and_to_the_logs(
    receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def begun() -> None:
            with telemetry.span("begun"):
                structlog.get_logger("test").info("said", number=3)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(begun)

    close = telemetry.configure({"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}, version="1")
    assert close is not None
    configure_logs("info", json=True)
    try:
        scope = {"type": "websocket", "headers": [(b"traceparent", PARENT.encode())]}
        await TracedRequests(app)(scope, None, None)  # type: ignore[arg-type]
    finally:
        structlog.reset_defaults()
        await anyio.to_thread.run_sync(close)
    (span,) = receiver.named("begun")
    assert f"00-{span.trace_id.hex()}-{span.parent_span_id.hex()}-01" == PARENT
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["number"], line["level"]) == ("said", 3, "info")
    assert (line["trace_id"], line["span_id"]) == (span.trace_id.hex(), span.span_id.hex())


@pytest.mark.parametrize(
    "environ",
    [{}, {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, {"OTEL_SERVICE_NAME": "x"}],
)
def test_it_is_off_without_an_endpoint(environ: dict[str, str]) -> None:
    assert telemetry.configure(environ, version="1") is None
    with telemetry.span("nothing") as span:
        span.set({"a": 1})
    assert (telemetry.headers(), telemetry.trace_ids()) == ({}, {})


def test_off_it_imports_nothing_of_opentelemetry() -> None:
    code = "import sys, codeact.api.agent, codeact.telemetry as t; t.configure({}, version='1')"
    code += "; print([name for name in sys.modules if name.startswith('opentelemetry')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"


def test_what_cannot_be_had_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}
    with pytest.raises(ConfigurationError, match="http/protobuf is"):
        telemetry.configure(environ | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, version="1")
    monkeypatch.setattr(telemetry, "missing_extras", lambda *extras: list(extras))
    with pytest.raises(ConfigurationError, match=r"pip install 'codeact\[otel\]'"):
        telemetry.configure(environ, version="1")


def test_a_collector_that_is_away_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    close = telemetry.configure({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}, version="1")
    assert close is not None
    with telemetry.span("lost"):
        pass
    close()
    assert not telemetry.is_on()
