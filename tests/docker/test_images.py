"""The images and docker/compose.yaml, run for real: the server in a container, its sandboxes next to it."""

import json
import re
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from importlib.metadata import version
from typing import Any

import docker
import pytest
from openai import OpenAI
from playwright.sync_api import expect, sync_playwright

from codeact.settings import Settings
from tests.browser import chromium
from tests.docker.conftest import KEY, ROOT, Composed
from tests.needs import leaks_of_the_sdk, own_name

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]

DEADLINE_S = 120


@pytest.fixture
def client(composed: Composed) -> Iterator[OpenAI]:
    until_healthy(composed, "server")
    with OpenAI(base_url=composed.url("server", 8000) + "/v1", api_key=KEY, max_retries=0) as client:
        yield client


def until_healthy(composed: Composed, service: str) -> None:
    """Waits for the image's own health check; fails the test with the container's log."""
    container = composed.container(service)
    with heard(composed.engine, {"container": container, "event": "health_status"}) as events:
        if composed.engine.inspect_container(container)["State"]["Health"]["Status"] != "healthy":
            assert any(event["status"] == "health_status: healthy" for event in events), composed("logs", service)


@contextmanager
def heard(engine: docker.APIClient, filters: dict[str, str]) -> Iterator[Iterable[dict[str, Any]]]:
    """The engine's events from now on."""
    with (
        leaks_of_the_sdk(),
        closing(engine.events(decode=True, until=int(time.time()) + DEADLINE_S, filters=filters)) as events,
    ):
        yield events


def run() -> list[str]:
    return ["docker", "run", "--rm", "--network", "none", "--name", own_name("run")]


def sh(image: str, script: str) -> str:
    command = [*run(), "--entrypoint", "sh", image, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def sandboxes(engine: docker.APIClient, server: str) -> set[str]:
    return {each["Id"] for each in engine.containers(all=True, filters={"label": f"codeact.server={server}"})}


def test_the_images_hold_the_page_and_neither_node_nor_the_sources_nor_root(image: str) -> None:
    for name in (image, f"{image}-dashboard"):
        assert sh(name, "command -v node npm pip uv gcc; id -u; codeact --version").split() == [
            "10000",
            version("codeact"),
        ]
        assert sh(name, "ls -A /data /build 2>/dev/null; true") == "/data:\n"
    assert "index.html" in sh(image, "ls /opt/app/codeact/server/static").split()


def test_the_environment_is_made_by_the_same_steps_in_both_files_so_that_it_is_built_once() -> None:
    stages = [
        re.search(
            r"^FROM \S+ AS environment\n(?:.+\n)+", (ROOT / "docker" / f"{name}.Dockerfile").read_text(), re.MULTILINE
        )
        for name in ("server", "dashboard")
    ]
    assert all(stages)
    assert len({stage[0] for stage in stages if stage is not None}) == 1


def test_no_argument_of_the_build_stays_in_an_image(image: str, engine: docker.APIClient) -> None:
    for name in (image, f"{image}-dashboard"):
        history = "".join(layer["CreatedBy"] for layer in engine.history(name))
        assert "INDEX" not in history
        assert not any("INDEX" in variable for variable in engine.inspect_image(name)["Config"]["Env"])


def test_the_server_s_image_has_a_database_of_its_own_and_says_how_to_give_it_an_engine(image: str) -> None:
    command = [*run(), image, "doctor", "--json"]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    parts = {finding["part"]: finding for finding in json.loads(said)["findings"]}
    assert parts["database"]["ok"]
    assert "-v /var/run/docker.sock" in str(parts["sandbox"])


def test_a_client_outside_sees_code_run_live_and_stops_it(client: OpenAI, composed: Composed) -> None:
    stream = client.responses.create(input="Count to 10", stream=True, extra_body={"include": ["codeact:events"]})
    response_id, live = "", []
    for event in stream:
        if event.type == "response.created":
            response_id = event.response.id
        if event.type == "codeact:code_interpreter_call.output":  # type: ignore[comparison-overlap]
            live.append(event)
            if len(live) == 2:
                client.responses.cancel(response_id)
    assert 2 <= len(live) < 10
    assert client.responses.retrieve(response_id).status == "cancelled"
    assert sandboxes(composed.engine, composed.container("server"))


def test_files_go_in_and_out_through_the_engine(client: OpenAI) -> None:
    container = client.containers.create(name="files")
    content = bytes(range(256)) * 4096
    uploaded = client.containers.files.create(container.id, file=("in put.bin", content))
    assert client.containers.files.content.retrieve(uploaded.id, container_id=container.id).read() == content
    client.containers.delete(container.id)


def test_the_next_server_removes_what_a_killed_one_left_and_has_its_history(client: OpenAI, composed: Composed) -> None:
    answer = client.responses.create(input="What is the 100th Fibonacci number?")
    assert "354224848179261915075" in answer.output_text
    engine, killed = composed.engine, composed.container("server")
    left = sandboxes(engine, killed)
    assert left
    with heard(engine, {"event": "destroy", "label": f"codeact.server={killed}"}) as events:
        engine.kill(killed)
        # Its data directory goes with it: that there was such a server is known by the engine alone.
        volumes = [mount["Name"] for mount in engine.inspect_container(killed)["Mounts"] if mount["Type"] == "volume"]
        composed("rm", "-f", "server")
        for volume in volumes:
            engine.remove_volume(volume)
        composed("up", "-d", "server")
        for event in events:
            left.discard(event["id"])
            if not left:
                break
    assert not left
    until_healthy(composed, "server")
    with OpenAI(base_url=composed.url("server", 8000) + "/v1", api_key=KEY, max_retries=0) as again:
        assert again.responses.retrieve(answer.id).output_text == answer.output_text


def test_the_dashboard_shows_what_ran(client: OpenAI, composed: Composed) -> None:
    client.responses.create(input="What is the 10th Fibonacci number?")
    until_healthy(composed, "dashboard")
    made = composed("exec", "-T", "server", "codeact", "keys", "create", "--owner", "op", "--operator", "--json")
    with sync_playwright() as playwright, chromium(playwright) as browser:
        page = browser.new_page()
        page.goto(composed.url("dashboard", 8501))
        key = page.get_by_role("textbox", name="Operator's key")
        key.fill(json.loads(made)["secret"])
        key.press("Enter")
        expect(page.get_by_role("heading", name="Overview")).to_be_visible(timeout=120_000)


def test_each_setting_that_the_files_for_compose_name_exists() -> None:
    text = (ROOT / "docker" / "compose.yaml").read_text() + (ROOT / "docker" / "example.env").read_text()
    names = set(re.findall(r"CODEACT_([A-Z_]+)", text))
    assert names
    assert {name.lower() for name in names} <= set(Settings.model_fields)
