"""What `pip install codeact` gives: a wheel is built and installed into a fresh environment, far from any checkout."""

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest

from sandbox_pool.backends import image

ROOT = Path(__file__).parents[1]
UV = Path(sys.executable).with_name("uv")
NAME_OF_IMAGE = "from sandbox_pool.backends import image as i; print(i.built_name(i._read_sources(i.SOURCES)))"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment that has the wheel and what the server's image has."""
    place = tmp_path_factory.mktemp("wheel")
    run(UV, "build", "--quiet", "--wheel", "--no-build-isolation", "--python", sys.executable, "--out-dir", place, ROOT)
    run(UV, "venv", "--quiet", "--python", sys.executable, place / "venv")
    into = (UV, "pip", "install", "--quiet", "--python", place / "venv" / "bin" / "python")
    run(*into, "--require-hashes", "-r", ROOT / "requirements" / "image.txt")
    run(*into, "--no-deps", *place.glob("*.whl"))
    return place / "venv" / "bin"


def run(*command: str | Path) -> str:
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def address(installed: Path, tmp_path: Path) -> Iterator[str]:
    command = [installed / "codeact", "serve", "--port", "0", "--model", "demo", "--sandbox", "process"]
    command += ["--pool-min", "0", "--data-dir", tmp_path / "data"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        found = next(found for line in server.stdout if (found := re.search(r"http://\S+", line)))
        yield found[0]
        server.terminate()


def test_it_says_its_version(installed: Path) -> None:
    assert run(installed / "codeact", "--version").strip() == version("codeact")


def test_it_serves_the_built_page(address: str) -> None:
    page = httpx.get(address, trust_env=False)
    assert page.headers["content-type"].startswith("text/html")
    script = re.search(r'src="(/assets/[^"]+\.js)"', page.text)
    assert script is not None
    assert "javascript" in httpx.get(address + script[1], trust_env=False).headers["content-type"]


def test_it_builds_the_same_sandbox_image_as_a_checkout(installed: Path) -> None:
    name = run(installed / "python", "-c", NAME_OF_IMAGE).strip()
    assert name == image.built_name({path: (ROOT / path).read_bytes() for path in image.SOURCES})


def test_it_has_the_dashboard_with_its_configuration(installed: Path) -> None:
    code = "import streamlit_app as s, pathlib; print(*sorted(f for f in pathlib.Path(s.__path__[0]).rglob('*.*')))"
    files = run(installed / "python", "-c", code)
    assert all(name in files for name in ("app.py", ".streamlit/config.toml", "views/overview.py", "icon.png"))
