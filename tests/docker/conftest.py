"""The images, built as an operator builds them, and everything that docker/compose.yaml starts, on free ports."""

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import anyio
import docker
import pytest

from tests.needs import missing, prepared_docker
from tests.server.conftest import in_thread

ROOT = Path(__file__).parents[2]
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
"""What the official image does when it is new; that image cannot be pulled everywhere, and a mongod is in ours."""
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
      test: [CMD, python, -c, "import pymongo; pymongo.MongoClient('{uri}', timeoutMS=3000).admin.command('ping')"]
      interval: 1s
"""


@dataclass(frozen=True, slots=True)
class Composed:
    """What runs. `command` is that of compose, with the project and its files."""

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
    """One that answers and has the image of sandboxes."""

    async def prepare() -> None:
        backend = await prepared_docker(tmp_path_factory.mktemp("run"))
        await backend.close()

    if not SOCKET.exists():
        missing("engine", f"no engine listens at {SOCKET}")
    in_thread(anyio.run, prepare)
    with closing(docker.APIClient(base_url=f"unix://{SOCKET}", version="auto", timeout=300)) as engine:
        yield engine


@pytest.fixture(scope="session")
def image(engine: docker.APIClient) -> Iterator[str]:
    """The name of the server's image; that of the dashboard ends in `-dashboard`."""
    name = f"codeact-test-{secrets.token_hex(3)}"
    command = ["make", "--no-print-directory", "image-dashboard", f"IMAGE={name}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    yield name
    for each in (f"{name}-dashboard", name):
        # The layers stay, for the next build.
        engine.remove_image(each, noprune=True)


@pytest.fixture(scope="session")
def composed(image: str, engine: docker.APIClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    place = tmp_path_factory.mktemp("compose")
    shutil.copy(ROOT / "docker" / "compose.yaml", place)
    uri = f"mongodb://codeact:{PASSWORD}@127.0.0.1/"
    database = json.dumps(DATABASE.replace("$", "$$"))
    (place / "others.yaml").write_text(OTHERS.format(image=image, database=database, uri=uri))
    values = {"MONGODB_PASSWORD": PASSWORD, "DOCKER_GID": os.stat(SOCKET).st_gid, "SERVER_PORT": 0, "DASHBOARD_PORT": 0}
    values |= {"CODEACT_MODEL": "demo", "CODEACT_API_KEYS": KEY}
    (place / ".env").write_text("".join(f"{name}={value}\n" for name, value in values.items()))
    composed = Composed((*compose(), "-p", image, "-f", "compose.yaml", "-f", "others.yaml"), place, engine)
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
