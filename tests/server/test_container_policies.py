"""What a request may ask of its container: its network, its secrets, how long it may be unused, and skills."""

import base64
import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from openai import BadRequestError, OpenAI
from websockets.sync.client import connect

from codeact.workspaces.options import ContainerOptions
from tests.model_server import ModelServer
from tests.server.conftest import Running

LISTENER = "127.77.0.1"
"""The address that the server's operator allows (`egress_domains`)."""


@pytest.fixture
def client(scripted: Running, model_server: ModelServer) -> Iterator[OpenAI]:
    model_server.reset()
    with OpenAI(base_url=f"{scripted.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def allowing(*domains: str, **more: Any) -> dict[str, Any]:
    return {"type": "allowlist", "allowed_domains": list(domains), **more}


def test_a_container_with_hosts_of_its_own_reaches_them_alone_and_hides_its_secrets(
    client: OpenAI, scripted: Running, model_server: ModelServer
) -> None:
    secret = {"domain": LISTENER, "name": "API_TOKEN", "value": "the-real-secret"}
    policy = allowing(LISTENER, domain_secrets=[secret])
    made = httpx.post(f"{scripted.url}/v1/containers", json={"name": "net", "network_policy": policy}, timeout=60)
    assert made.status_code == 200, made.text
    assert made.json()["network_policy"] == allowing(LISTENER)
    container_id = made.json()["id"]
    code = (
        "import os, socket, urllib.request, urllib.error\n"
        "print([name for _, name in socket.if_nameindex()], os.environ['API_TOKEN'][:15])\n"
        "try:\n    urllib.request.urlopen('http://other.test/', timeout=20)\n"
        "except urllib.error.HTTPError as error:\n    print(error.code, error.read().decode())"
    )
    model_server.reply(f"<execute>\n{code}\n</execute>\n")
    model_server.reply("Done.")
    tools = [{"type": "code_interpreter", "container": container_id}]
    answer = client.responses.create(input="go", tools=tools)  # type: ignore[arg-type]
    [code_item] = [item for item in answer.output if item.type == "code_interpreter_call"]
    logs = code_item.outputs[0].logs  # type: ignore[index, union-attr]
    assert logs.startswith("['lo'] codeact-secret-")
    assert "403 other.test is not allowed" in logs
    told = model_server.requests[-1].messages[0]["content"]
    assert f"The network reaches {LISTENER} over HTTP and HTTPS" in told
    assert "API_TOKEN has a placeholder" in told
    everything = httpx.get(f"{scripted.url}/v1/containers/{container_id}").text + answer.to_json() + str(told)
    assert "the-real-secret" not in everything


def test_a_request_may_bring_the_policy_and_its_secrets_are_neither_shown_nor_stored(
    client: OpenAI, scripted: Running, model_server: ModelServer
) -> None:
    secret = {"domain": LISTENER, "name": "API_TOKEN", "value": "the-real-secret"}
    container = {"type": "auto", "network_policy": allowing(LISTENER, domain_secrets=[secret])}
    tools = [{"type": "code_interpreter", "container": container}]
    body = {"input": "go", "tools": tools, "stream": True, "include": ["codeact:events"]}
    model_server.reply("<execute>\nprint(1)\n</execute>\n")
    model_server.reply("Done.")
    with httpx.stream("POST", f"{scripted.url}/v1/responses", json=body, timeout=60) as answer:
        text = answer.read().decode()
    assert "may reach 127.77.0.1 is being started; none is kept warm" in text
    last = json.loads(text.strip().splitlines()[-3].removeprefix("data: "))["response"]
    [tool] = last["tools"]
    assert tool["container"]["network_policy"]["domain_secrets"] == [{"domain": LISTENER, "name": "API_TOKEN"}]
    stored = httpx.get(f"{scripted.url}/v1/responses/{last['id']}").text
    assert "the-real-secret" not in text + stored
    other = {"type": "auto", "network_policy": allowing("example.org")}
    for policy, param in ((other, "network_policy"), (container | {"memory_limit": "4g"}, "memory_limit")):
        tools = [{"type": "code_interpreter", "container": policy}]
        with pytest.raises(BadRequestError) as refused:
            client.responses.create(input="again", previous_response_id=last["id"], tools=tools)  # type: ignore[arg-type]
        assert refused.value.param == param


@pytest.mark.parametrize("made_by", ["POST /v1/containers", "a request"])
def test_the_policy_of_a_container_is_that_of_the_next_one_of_its_conversation(
    client: OpenAI, scripted: Running, model_server: ModelServer, made_by: str
) -> None:
    policy = {"network_policy": {"type": "disabled"}}
    if made_by == "a request":
        tools: Any = [{"type": "code_interpreter", "container": {"type": "auto", "memory_limit": "4g", **policy}}]
        model_server.reply("Hello.")
        first = client.responses.create(input="hi", tools=tools)
        assert first.conversation is not None
        conversation_id = first.conversation.id
    else:
        made = httpx.post(f"{scripted.url}/v1/containers", json={"name": "closed", **policy}, timeout=60)
        conversation_id = made.json()["codeact:conversation_id"]
    workspaces = scripted.state.workspaces

    def options_after_a_loss(conversation_id: str) -> ContainerOptions:
        # As after a restart of the server, or when the sandbox was idle for too long: nothing in memory is left.
        scripted.run(lambda: workspaces.release(conversation_id, "the test says so"))
        assert workspaces._workspaces.get(conversation_id) is None
        model_server.reply("Hello again.")
        client.responses.create(input="again", conversation=conversation_id)
        return workspaces._workspaces[conversation_id].options

    expected = ContainerOptions(no_network=True, memory_mb=4096 if made_by == "a request" else None)
    assert options_after_a_loss(conversation_id) == expected
    assert options_after_a_loss(conversation_id) == expected
    copy = httpx.post(f"{scripted.url}/v1/conversations/{conversation_id}/fork", json={}).json()["id"]
    assert options_after_a_loss(copy) == expected


@pytest.mark.parametrize("names", ["the response", "an item"])
def test_the_policy_holds_in_an_unstored_conversation_too(
    scripted: Running, model_server: ModelServer, names: str
) -> None:
    model_server.reset()
    workspaces = scripted.state.workspaces
    before = {*workspaces._workspaces}
    with connect(scripted.ws_url, max_size=None) as socket:

        def ask(**body: Any) -> tuple[dict[str, Any], str]:
            model_server.reply("Hello.")
            socket.send(json.dumps({"type": "response.create", "store": False, **body}))
            while (event := json.loads(socket.recv(timeout=60)))["type"] != "response.completed":
                pass
            (name,) = (each for each in workspaces._workspaces if each not in before)
            return event["response"], name

        container = {"type": "auto", "network_policy": {"type": "disabled"}}
        first, name = ask(input="hi", tools=[{"type": "code_interpreter", "container": container}])
        scripted.run(lambda: workspaces.release(name, "the test says so"))
        further = {"role": "user", "content": "again"}
        more = {"input": [further], "previous_response_id": first["id"]}
        ask(**(more if names == "the response" else {"input": [*first["output"], further]}))
        assert workspaces._workspaces[name].options == ContainerOptions(no_network=True)


def secrets_for(*pairs: tuple[str, str], value: str = "b") -> list[dict[str, str]]:
    return [{"domain": domain, "name": name, "value": value} for domain, name in pairs]


@pytest.mark.parametrize(
    ("policy", "param"),
    [
        (allowing("other.test"), "allowed_domains[0]"),
        (allowing("example.org", ".example.org"), "allowed_domains[1]"),
        (allowing("https://example.org"), "allowed_domains[0]"),
        (allowing("*"), "allowed_domains[0]"),
        (allowing("example.org\n"), "allowed_domains[0]"),
        (allowing("example.org", domain_secrets=secrets_for((LISTENER, "A"))), "domain_secrets[0].domain"),
        (allowing("example.org", domain_secrets=secrets_for(("example.org", "LD_PRELOAD"))), "domain_secrets[0].name"),
        (allowing("example.org", domain_secrets=secrets_for(*[("example.org", "A")] * 2)), "domain_secrets[1].name"),
        (allowing("example.org", domain_secrets=secrets_for(("example.org", "A"), value="b\r\nX: y")), "value"),
        (allowing("example.org", domain_secrets=secrets_for(("example.org", "A"), value="b\n")), "value"),
        (allowing("example.org", domain_secrets=secrets_for(("example.org", "A"), value=" b")), "value"),
        (allowing("example.org", domain_secrets=secrets_for(("example.org", "A\n"))), "name"),
        (allowing(), "allowed_domains"),
        (allowing(*["example.org"] * 101), "allowed_domains"),
        ({"type": "open"}, "type"),
        ({}, "network_policy"),
    ],
)
def test_a_policy_that_the_operator_does_not_allow_is_refused_by_name(
    scripted: Running, policy: dict[str, Any], param: str
) -> None:
    answer = httpx.post(f"{scripted.url}/v1/containers", json={"name": "x", "network_policy": policy}, timeout=60)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"].endswith(param), answer.text


def test_a_container_may_expire_later_than_others_up_to_the_operators_limit(client: OpenAI) -> None:
    container = client.containers.create(name="long", expires_after={"anchor": "last_active_at", "minutes": 60})
    assert container.expires_after is not None
    assert container.expires_after.minutes == 60
    client.containers.delete(container.id)


def test_skills_are_in_a_container_from_its_beginning(
    client: OpenAI, scripted: Running, model_server: ModelServer
) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("SKILL.md", "---\nname: greet\ndescription: How to greet.\n---\nSay hello.\n")
    source = {"type": "base64", "media_type": "application/zip", "data": base64.b64encode(archive.getvalue()).decode()}
    skill = {"type": "inline", "name": "greet", "description": "How to greet.", "source": source}
    made = httpx.post(f"{scripted.url}/v1/containers", json={"name": "s", "skills": [skill]}, timeout=60)
    assert made.status_code == 200, made.text
    model_server.reply("<execute>\nprint(open('/mnt/skills/greet/SKILL.md').read())\n</execute>\n")
    model_server.reply("Done.")
    tools = [{"type": "code_interpreter", "container": made.json()["id"]}]
    answer = client.responses.create(input="go", tools=tools)  # type: ignore[arg-type]
    [code_item] = [item for item in answer.output if item.type == "code_interpreter_call"]
    assert "Say hello." in code_item.outputs[0].logs  # type: ignore[index, union-attr]
    wrong = [{"type": "skill_reference", "skill_id": "skill_no"}]
    missing = httpx.post(f"{scripted.url}/v1/containers", json={"name": "s", "skills": wrong}, timeout=60)
    assert missing.status_code == 404, missing.text
