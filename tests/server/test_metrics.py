"""`/metrics`, parsed by the official parser."""

from collections.abc import Iterator

import httpx
import pytest
from openai import OpenAI
from prometheus_client.parser import text_string_to_metric_families

from tests.server.conftest import Running

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def client(demo: Running) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{demo.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def scraped(server: Running) -> Samples:
    answer = httpx.get(f"{server.url}/metrics", trust_env=False)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    samples: Samples = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in samples, key
            samples[key] = sample.value
    return samples


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples.get((name, frozenset(labels.items())), 0.0)


def test_an_ended_response_is_counted_with_its_tokens_and_times(demo: Running, client: OpenAI) -> None:
    while value(before := scraped(demo), "codeact_responses_in_progress"):
        pass  # Those of other tests, which share the server, end soon.
    response = client.responses.create(input="What is the 100th Fibonacci number?")
    after = scraped(demo)

    def more(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    assert response.usage is not None
    assert more("codeact_responses_total", status="completed") == 1
    assert more("codeact_tokens_total", kind="output") == response.usage.output_tokens
    tokens = more("codeact_tokens_total", kind="input") + more("codeact_tokens_total", kind="cached_input")
    assert tokens == response.usage.input_tokens
    for name in ("first_token", "first_output", "duration", "sandbox_wait"):
        assert more(f"codeact_response_{name}_seconds_count") == 1
    ledger = response.model_extra["codeact:ledger"]  # type: ignore[index]
    assert more("codeact_response_duration_seconds_sum") == pytest.approx(ledger["total_s"], abs=1e-6)


def test_what_is_under_way_is_there_while_it_is(demo: Running, client: OpenAI) -> None:
    with client.responses.create(input="Count to 10", stream=True) as stream:
        first = next(iter(stream))
        samples = scraped(demo)
        assert value(samples, "codeact_responses_in_progress") >= 1
        assert value(samples, "codeact_event_subscribers") >= 1
        client.responses.cancel(first.response.id)  # type: ignore[union-attr]


def test_the_moment_has_the_pool_the_database_and_the_process(demo: Running, client: OpenAI) -> None:
    client.responses.create(input="What is 6 * 7?")
    samples = scraped(demo)
    stats = demo.state.pool.started.value.stats()  # type: ignore[union-attr]
    assert value(samples, "codeact_pool_acquires_total", backend="process", result="hit") == stats.hits
    for kind, state in (("standard", "warm"), ("other", "leased")):
        labels = frozenset({"backend": "process", "class": kind, "state": state}.items())
        assert ("codeact_pool_sandboxes", labels) in samples
    assert 0 < value(samples, "codeact_pool_acquire_seconds", backend="process", quantile="0.99") < 60
    assert value(samples, "codeact_store_up") == 1
    assert 0 < value(samples, "codeact_store_ping_seconds") < 60
    assert value(samples, "process_resident_memory_bytes") > 10_000_000
