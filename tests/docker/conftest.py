"""Builds the images as an operator does, and starts the services of docker/compose.yaml on free ports."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import anyio
import docker
import pytest

from tests.docker.built import ROOT, built
from tests.needs import missing, own_name, prepared_docker
from tests.server.conftest import in_thread

SOCKET = Path("/var/run/docker.sock")
KEY = "sk-of-the-test"
PASSWORD = "of-the-test"
MONGOD = "/opt/codeact/lib/python3*/site-packages/fiftyone/db/bin/mongod"
DATABASE = f"""
mongod=$(echo {MONGOD}); d="--dbpath /data/db --logpath /data/db/log"; mkdir -p /data/db
$mongod $d --fork
python -c 'from pymongo import MongoClient as M
M().admin.command("createUser", "codeact", pwd="{PASSWORD}", roles=["root"])'
$mongod $d --shutdown
exec $mongod $d --auth --bind_ip_all
"""
"""Sets up a database as the official image does. That image cannot be pulled everywhere, but ours contains a mongod."""
OTHERS = """
services:
  server: {{image: {image}}}
  dashboard: {{image: {image}-dashboard}}
  mongodb:
    image: {image}
    user: "0"
    entrypoint: [sh, -ec, {database}]
    command: []
    healthcheck:
      # Only the last mongod above listens at that address. The check runs every second, so it must be cheap.
      test: [CMD, python, -ISc, "import socket as s; s.create_connection((s.gethostname(), 27017), 3)"]
      interval: 1s
"""


@dataclass(frozen=True, slots=True)
class Composed:
    """The running services. `command` is the command line of compose, with the project and its files."""

    command: tuple[str, ...]
    place: Path
    engine: docker.APIClient

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run(
            [*self.command, *arguments], cwd=self.place, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def container(self, service: str) -> str:
        return self("ps", "-q", service).strip()

    def url(self, service: str, port: int) -> str:
        published = self.engine.inspect_container(self.container(service))["NetworkSettings"]["Ports"][f"{port}/tcp"]
        return f"http://127.0.0.1:{published[0]['HostPort']}"


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[docker.APIClient]:
    """A Docker engine that has the image of sandboxes."""

    async def prepare() -> None:
        backend = await prepared_docker(tmp_path_factory.mktemp("run"))
        await backend.close()

    if not SOCKET.exists():
        missing("engine", f"no engine listens at {SOCKET}")
    in_thread(anyio.run, prepare)
    with closing(docker.APIClient(base_url=f"unix://{SOCKET}", version="auto", timeout=300)) as engine:
        yield engine


@pytest.fixture(scope="session")
def image(engine: docker.APIClient) -> str:
    """The name of the server's image. The dashboard's image has the same name with `-dashboard`."""
    return built(engine)


@pytest.fixture(scope="module")
def composed(image: str, engine: docker.APIClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    """Starts the services for the tests of one file."""
    place = tmp_path_factory.mktemp("compose")
    shutil.copy(ROOT / "docker" / "compose.yaml", place)
    database = json.dumps(DATABASE.replace("$", "$$"))
    (place / "others.yaml").write_text(OTHERS.format(image=image, database=database))
    values = {"MONGODB_PASSWORD": PASSWORD, "DOCKER_GID": os.stat(SOCKET).st_gid, "SERVER_PORT": 0, "DASHBOARD_PORT": 0}
    values |= {"CODEACT_MODEL": "demo", "CODEACT_API_KEYS": KEY}
    (place / ".env").write_text("".join(f"{name}={value}\n" for name, value in values.items()))
    composed = Composed(
        (*compose(), "-p", own_name("compose"), "-f", "compose.yaml", "-f", "others.yaml"), place, engine
    )
    try:
        composed("up", "-d")
        yield composed
    finally:
        composed("down", "-v", "-t", "30")


def compose() -> tuple[str, ...]:
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0:
        return ("docker", "compose")
    if shutil.which("docker-compose") is None:
        missing("engine", "neither `docker compose` nor `docker-compose` is installed: apt-get install docker-compose")
    return ("docker-compose",)
