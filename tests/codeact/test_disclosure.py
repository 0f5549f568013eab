"""What clients may see of failures: causes and what to do, but no secrets, addresses and paths."""

import time

import pytest

from codeact.disclosure import PUBLIC_ERRORS, Disclosure, public_error, to_strangers
from codeact.errors import (
    CodeActError,
    ContextTooLong,
    InvalidRequest,
    ModelError,
    ModelNotFound,
    ModelUnreachable,
    StoreError,
    StoreUnavailable,
)
from codeact.settings import Settings
from sandbox_pool.errors import FileError, SandboxError

KNOWN = Disclosure.of(
    secrets=["hunter2-of-the-server"],
    urls=["http://bob:p%40ss-word@gpu-box:8000/v1", "mongodb://root:mongo-pass@db-a:27017,db-b.example:27018/codeact"],
    paths=["/srv/state of codeact"],
)


@pytest.mark.parametrize(
    "secret",
    [
        "hunter2-of-the-server",
        "http://bob:p%40ss-word@gpu-box:8000/v1",
        "p%40ss-word",
        "p@ss-word",
        "mongo-pass",
        "gpu-box",
        "gpu-box:8000",
        "db-b.example",
        "/srv/state of codeact",
        "http://10.1.2.3:8080/admin",
        "10.1.2.3",
        "192.168.0.12:5000",
        "[fd00::17]:443",
        "fe80::1ff:fe23:4567:890a",
        "vllm-7.models.svc.cluster.local",
        "inference.corp",
        "localhost:11434",
        "worker3:8001",
        "https://llm.example.com/v1?key=abc",
        "redis://cache/0",
        "https://user:pw@api.openai.com/v1",
        "/home/ada/.config/token",
        "C:\\Users\\ada\\keys.txt",
        "sk-proj-abcdef123456",
        "sk-abc***********wxyz",
        "AIzaSyA1234567890abcdef",
        "gsk_8JkLmNoPqRsTuVwX",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        "org-AbCdEf1234567890",
        "4f3c2b1a0d9e8f7a6b5c4d3e2f1a0b9c",
        "dGhpcyBpcyBhIHNlY3JldCB0b2tlbiAxMjM0NTY",
    ],
)
def test_secrets_addresses_and_paths_are_left_out(secret: str) -> None:
    shown = KNOWN.scrub(f"Something failed: {secret} (status 401). Ask the administrator.")
    assert secret not in shown
    assert shown.startswith("Something failed: [")
    assert shown.endswith("Ask the administrator.")


@pytest.mark.parametrize(
    "text",
    [
        "Incorrect API key provided: whatever.",
        "Authorization: Bearer abcdef",
        '{"api_key": "abcdef"}',
        "password=abcdef",
        "invalid token: abcdef",
    ],
)
def test_what_is_named_as_a_secret_is_one_whatever_it_looks_like(text: str) -> None:
    shown = KNOWN.scrub(text)
    assert "abcdef" not in shown
    assert "whatever" not in shown
    assert "[secret]" in shown


@pytest.mark.parametrize(
    "text",
    [
        "The model claude-sonnet-4-5-20250929 does not exist or you do not have access to it.",
        "This model's maximum context length is 8192 tokens, however you requested 9001 tokens (8001 in the messages).",
        "Rate limit reached for gpt-4.1 on requests per min (RPM): Limit 3, Used 3. Please try again in 20s.",
        "You can find your API key at https://platform.openai.com/account/api-keys.",
        "openai/gpt-4.1 needs a key, and none is set: export OPENAI_API_KEY=… or export CODEACT_MODEL_API_KEY=…",
        "The server is down until 12:30:45 (2026-11-29). Error code: 503",
        "meta-llama/Llama-3.3-70B-Instruct-Turbo is not served; Qwen2.5-Coder-32B-Instruct is.",
    ],
)
def test_the_cause_and_the_remedy_stay(text: str) -> None:
    assert KNOWN.scrub(text) == text


def test_every_secret_of_the_settings_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOMEBODY_API_KEY", "in-the-environment")
    settings = Settings.load(
        api_keys="first-key,second-key",
        model_api_key="the-models-key",
        mongodb_uri="mongodb://u:database-password@db.example/x",
    )
    text = "first-key second-key the-models-key database-password in-the-environment db.example"
    assert settings.disclosure.scrub(text) == "[secret] [secret] [secret] [secret] [secret] [address]"


def test_strangers_are_told_the_kind_and_their_own_mistakes_alone() -> None:
    for error in (
        ModelUnreachable("No answer from http://u:p@host/v1"),
        ContextTooLong("The conversation is too long for gpt at http://x"),
        StoreUnavailable("No MongoDB answers at db.internal"),
        SandboxError("docker.sock: permission denied"),
        CodeActError("something of ours", code="a_new_code"),
    ):
        code, words = to_strangers(error)
        assert (code, words) == public_error(error.code)
        assert words in (*PUBLIC_ERRORS.values(), "The answer failed.")
    assert to_strangers(CodeActError("x", code="a_new_code"))[0] == "server_error"
    assert to_strangers(InvalidRequest("'input' is empty.", param="input"))[1] == "'input' is empty."
    assert to_strangers(ModelNotFound("The model 'x' is not served here.", param="model"))[1].startswith(
        "The model 'x'"
    )


@pytest.mark.parametrize(
    "piece", ["a.", "a:", "://", "http://a", "::", "key: ", "1.", "a" * 15 + "1", "/tmp", "sk-", "@"]
)
def test_scrubbing_takes_no_longer_than_the_text_is_long(piece: str) -> None:
    started = time.process_time()
    KNOWN.scrub(piece * (5_000_000 // len(piece)))
    assert time.process_time() - started < 5


def test_whoever_runs_the_server_reads_addresses_but_no_secrets() -> None:
    error = ModelUnreachable("No answer from http://bob:p%40ss-word@gpu-box:8000/v1: hunter2-of-the-server")
    assert KNOWN.to_operators(error)[1] == "No answer from http://gpu-box:8000/v1: [secret]"
    assert KNOWN.without_secrets("api_key=abcdef, Bearer abcdefgh, sk-live-1234567 at 10.0.0.1") == (
        "api_key=[secret], Bearer [secret], [secret] at 10.0.0.1"
    )


def kinds(kind: type[Exception]) -> list[type[Exception]]:
    return [kind, *(each for subclass in kind.__subclasses__() for each in kinds(subclass))]


def test_strangers_have_words_for_every_failure_of_a_model_a_sandbox_and_the_database() -> None:
    roots = (ModelError, StoreError, SandboxError)
    codes = {kind.code for root in roots for kind in kinds(root) if not issubclass(kind, FileError)}  # type: ignore[attr-defined]
    assert codes - PUBLIC_ERRORS.keys() == set()
