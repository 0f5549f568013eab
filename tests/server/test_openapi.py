"""The OpenAPI document is true: the real server accepts and answers what it describes."""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
from hypothesis import HealthCheck, Phase, given, settings, strategies

from codeact.server.app import create_app
from codeact.server.openapi import document
from tests.needs import LONG
from tests.server.conftest import Running, settings_of

EMBED = {"origin": "https://shop.example", "user": "alice"}
DOCUMENT = document(create_app(settings_of(Path("unused"))).routes)
OPERATIONS = [f"{method.upper()} {path}" for path, methods in DOCUMENT["paths"].items() for method in methods]


@cache
def schema() -> Any:
    import schemathesis

    return schemathesis.openapi.from_dict(DOCUMENT)


@pytest.fixture(scope="module")
def asked(make_server: Callable[..., Running]) -> Running:
    return make_server(max_turns=1, execution_timeout_s=5.0, embed_origins=EMBED["origin"])


@pytest.fixture(scope="module")
def known(asked: Running) -> dict[str, str]:
    """Ids for the parameters of a path."""
    with httpx.Client(base_url=asked.url, trust_env=False) as client:
        response = client.post("/v1/responses", json={"input": "What is the 100th Fibonacci number?"}).json()
    return {
        "response_id": response["id"],
        "conversation_id": response["conversation"]["id"],
        "item_id": response["output"][0]["id"],
        "container_id": response["output"][1]["container_id"],
        "model": "demo",
    }


@pytest.mark.long
# Schemathesis draws from `random` in a strategy of its own.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_server_answers_as_its_document_says(operation: str, asked: Running, known: dict[str, str]) -> None:
    # This import takes two seconds, and each test process collects all files.
    from schemathesis.generation import GenerationMode
    from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance, unsupported_method

    not_ours = [
        # What fits the types may still name what is not there, or say nothing that can be answered.
        positive_data_acceptance,
        # No key is needed on loopback; keys have tests of their own.
        ignored_auth,
        # A path may have methods that the document does not list.
        unsupported_method,
    ]
    method, path = operation.split()
    fitting, other = (schema()[path][method].as_strategy(generation_mode=mode) for mode in GenerationMode)

    @given(case=strategies.one_of(fitting, other))
    @settings(
        max_examples=200 if LONG else 6,
        deadline=None,
        derandomize=not LONG,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: Any) -> None:
        if case.method != "DELETE":
            case.path_parameters.update({name: known[name] for name in case.path_parameters if name in known})
        fits = case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE
        if fits and isinstance(case.body, dict) and "origin" in case.body:
            case.body.update(EMBED)
        with requests.Session() as session:
            session.trust_env = False
            case.call_and_validate(base_url=asked.url, session=session, excluded_checks=not_ours, timeout=60)

    ask()


def test_the_document_names_every_type_that_it_uses(asked: Running) -> None:
    answered = httpx.get(f"{asked.url}/openapi.json", trust_env=False).json()
    assert {"/v1/responses", "/v1/chat/completions", "/v1/conversations/{conversation_id}/items"} <= set(
        answered["paths"]
    )
    create = answered["paths"]["/v1/responses"]["post"]
    assert create["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/CreateBody"}
    assert create["summary"].startswith("Answers `input`.")
    body = answered["components"]["schemas"]["CreateBody"]
    assert body["properties"]["temperature"]["anyOf"][0] == {"type": "number", "minimum": 0.0, "maximum": 2.0}


def test_every_route_refuses_parameters_that_it_does_not_know_by_name(asked: Running) -> None:
    with httpx.Client(base_url=asked.url, trust_env=False) as client:
        for operation in OPERATIONS:
            method, path = operation.split()
            answer = client.request(method, re.sub(r"{\w+}", "x", path), params={"colour": "red"}, json={})
            error = answer.json()["error"]
            assert (answer.status_code, error["param"]) == (400, "colour"), f"{operation}: {answer.text}"
