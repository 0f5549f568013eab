"""What an installation contains, from a wheel or editable, next to a user's own modules; and what the base omits."""

import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import distribution, packages_distributions, version
from pathlib import Path
from typing import Any

import httpx
import pytest
from packaging.requirements import Requirement

from sandbox_pool.backends.docker import image
from sandbox_pool.extras import MODULES
from scripts.links import LINKS

ROOT = Path(__file__).parents[1]
UV = Path(sys.executable).with_name("uv")
EDITABLE = Path(sys.executable).parent
"""The `bin` of the environment that runs these tests, made by `make install-dev`."""
NAME_OF_IMAGE = "from sandbox_pool.backends.docker import image as i; print(i.built_name(i._read_sources(i.SOURCES)))"
BUILD = (UV, "build", "--quiet", "--no-build-isolation", "--python", sys.executable)


def run(*command: str | Path, cwd: Path = Path("/"), code: int = 0, **environment: str) -> str:
    """The standard output of a command. If its exit code is not 0, its standard error."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("CODEACT_")}
    ours["CODEACT_SANDBOX_PRELOAD"] = ""
    done = subprocess.run(
        command, cwd=cwd, env=ours | environment, capture_output=True, text=True, check=False, timeout=110
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stderr if code else done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("wheel")
    run(*BUILD, "--wheel", "--out-dir", place, ROOT)
    (built,) = place.glob("*.whl")
    return built


def install(place: Path, requirements: str, wheel: Path) -> Path:
    """The `bin` of a new environment with these requirements and the wheel."""
    run(UV, "venv", "--quiet", "--python", sys.executable, place)
    into = (UV, "pip", "install", "--quiet", "--python", place / "bin" / "python")
    run(*into, "--require-hashes", "-r", ROOT / "requirements" / requirements)
    run(*into, "--no-deps", wheel)
    return place / "bin"


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel and the requirements of the server's image."""
    return install(tmp_path_factory.mktemp("whole") / "venv", "image.txt", wheel)


@pytest.fixture(scope="module")
def base(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment after `pip install codeact`, without any extra."""
    return install(tmp_path_factory.mktemp("base") / "venv", "base.txt", wheel)


@pytest.fixture
def users(tmp_path: Path) -> Path:
    """A working directory with a user's modules that have the names of our folders."""
    for name in ("server", "streamlit_app", "dashboard", "cli", "app"):
        (tmp_path / f"{name}.py").write_text("WHOSE = 'the user'\n")
    return tmp_path


@pytest.fixture(params=["wheel", "editable"])
def bin_(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue("installed") if request.param == "wheel" else EDITABLE
    return found


# ---- beside a user's own modules ---------------------------------------------------------------------


def test_a_wheel_shows_two_packages(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names} == {
        "codeact",
        "sandbox_pool",
        f"{wheel.name.partition('-py3')[0]}.dist-info",
    }


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution."""
    place = tmp_path_factory.mktemp("source")
    run(*BUILD, "--sdist", "--out-dir", place, ROOT)
    (built,) = place.glob("*.tar.gz")
    return built


def files_of(source: Path) -> set[str]:
    with tarfile.open(source) as archive:
        return {member.name.partition("/")[2] for member in archive if member.isfile()}


def test_a_source_distribution_has_what_a_wheel_is_built_from(source: Path) -> None:
    names = files_of(source)
    needed = {
        "hatch_build.py",
        "scripts/links.py",
        "web/build.py",
        "web/package-lock.json",
        "codeact/dashboard/.streamlit/config.toml",
    }
    needed |= {f"docker/{path.name}" for path in map(Path, image.SOURCES) if path.parent.name == "docker"}
    needed |= {f"codeact/server/{path.relative_to(ROOT / 'server')}" for path in (ROOT / "server").rglob("*.py")}
    assert needed - names == set()


def test_a_copy_that_lost_its_links_is_built_whole(source: Path, tmp_path: Path) -> None:
    """A source tree whose links are small files, as made by a copying tool without support for links."""
    with tarfile.open(source) as archive:
        archive.extractall(tmp_path, filter="data")
    (copy,) = tmp_path.iterdir()
    for name, target in LINKS.items():
        (copy / name).rename(copy / "codeact" / target)
        (copy / name).write_text(target)
    run(*BUILD, "--sdist", "--out-dir", tmp_path / "built", copy)
    (built,) = (tmp_path / "built").glob("*.tar.gz")
    assert files_of(built) == files_of(source)
    assert {name: os.readlink(copy / name) for name in LINKS} == LINKS


def test_this_environment_is_an_editable_one() -> None:
    origin = json.loads(distribution("codeact").read_text("direct_url.json") or "{}")
    assert origin["dir_info"] == {"editable": True}


@pytest.mark.parametrize("site", [False, True], ids=["first on the path", "last on the path"])
def test_a_users_modules_stay_theirs_and_ours_are_found(bin_: Path, users: Path, site: bool) -> None:
    """Also if the user's modules come last on the path, like those of another editable install."""
    code = (
        "import server, streamlit_app, codeact.server.app, codeact.dashboard; print(server.WHOSE, streamlit_app.WHOSE)"
    )
    if site:
        code = f"import sys; sys.path.append({str(users)!r}); {code}"
    assert run(bin_ / "python", "-c", code, cwd=Path("/") if site else users) == "the user the user\n"


def test_nothing_of_a_checkout_is_imported_by_a_name_that_is_not_ours(bin_: Path, tmp_path: Path) -> None:
    names = [path.name for path in ROOT.iterdir() if path.is_dir() and path.name.isidentifier()]
    names += [path.stem for path in ROOT.glob("*.py")]
    code = "import sys, importlib.util as u; print(*[n for n in sys.argv[1:] if u.find_spec(n)])"
    found = run(bin_ / "python", "-c", code, *names, cwd=tmp_path).split()
    assert set(found) - {"docker", "__pycache__"} == {"codeact", "sandbox_pool"}
    assert {"server", "streamlit_app", "tests"} <= set(names)


@pytest.mark.parametrize("way", ["script", "module"])
def test_the_command_line_starts_beside_them(bin_: Path, way: str, users: Path) -> None:
    command = (bin_ / "codeact",) if way == "script" else (bin_ / "python", "-m", "codeact")
    assert run(*command, "--version", cwd=users, PYTHONPATH=str(users)).strip() == version("codeact")


@pytest.fixture
def address(bin_: Path, users: Path) -> Iterator[str]:
    """The address of a server that was started with the user's modules first on the path."""
    command = [bin_ / "python", "-m", "codeact", "serve", "--port", "0", "--model", "demo", "--sandbox", "process"]
    command += ["--pool-min", "0", "--data-dir", users / "data"]
    with subprocess.Popen(command, cwd=users, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        assert server.stdout is not None
        found = next(found for line in server.stdout if (found := re.search(r"http://\S+", line)))
        yield found[0]
        server.terminate()


def test_it_serves_the_page_beside_them(address: str) -> None:
    page = httpx.get(address, trust_env=False)
    assert page.headers["content-type"].startswith("text/html")
    script = re.search(r'src="(/assets/[^"]+\.js)"', page.text)
    assert script is not None
    assert "javascript" in httpx.get(address + script[1], trust_env=False).headers["content-type"]


DASHBOARD = """
import pkgutil, importlib, codeact.dashboard, streamlit_app
pages = ("codeact.dashboard.app", "codeact.dashboard.views")  # Streamlit runs these.
modules = pkgutil.walk_packages(codeact.dashboard.__path__, "codeact.dashboard.")
found = [importlib.import_module(m.name) for m in modules if not m.name.startswith(pages)]
print(len(found), streamlit_app.WHOSE, codeact.dashboard.__file__)
"""


@pytest.mark.parametrize("way", ["wheel", "editable"])
def test_the_dashboard_is_imported_beside_them(way: str, wheel: Path, users: Path) -> None:
    """In the environment with Streamlit, where the wheel's modules come before its editable ones."""
    python = ROOT / ".venv-dashboard" / "bin" / "python"
    path = [users]
    if way == "wheel":
        run(UV, "pip", "install", "--quiet", "--no-deps", "--python", python, "--target", users / "site", wheel)
        path.append(users / "site")
    count, *whose, file = run(python, "-c", DASHBOARD, cwd=users, PYTHONPATH=":".join(map(str, path))).split()
    assert int(count) > 10
    assert whose == ["the", "user"]
    assert Path(file).is_relative_to(users / "site" if way == "wheel" else ROOT)


# ---- what a wheel holds ------------------------------------------------------------------------------


def test_it_builds_the_same_sandbox_image_as_a_checkout(installed: Path) -> None:
    name = run(installed / "python", "-c", NAME_OF_IMAGE).strip()
    assert name == image.built_name({path: (ROOT / path).read_bytes() for path in image.SOURCES})


def test_it_has_the_dashboard_with_its_configuration(installed: Path) -> None:
    code = "import codeact.dashboard as s, pathlib; print(*sorted(f for f in pathlib.Path(s.__path__[0]).rglob('*.*')))"
    files = run(installed / "python", "-c", code)
    assert all(name in files for name in ("app.py", ".streamlit/config.toml", "views/overview.py", "icon.png"))


# ---- without extras ----------------------------------------------------------------------------------

WITHOUT_EXTRAS = """
import anyio, json, pathlib, sys
from codeact import Agent
from codeact.models.litellm.client import LiteLLMModel
from codeact.models.scripted import ScriptedModel
from codeact.store.database.embedded import embedded_mongod

here = pathlib.Path.cwd()
config = here / "mcp.json"
config.write_text(json.dumps({"mcpServers": {"sums": {"command": "sums"}}}))
report = {}

def ask(model, **settings):
    with Agent(model, data_dir=here, **{"sandbox": "process", "pool_min": 0} | settings) as agent:
        return agent.run("go")

def scripted():
    return ScriptedModel(["<execute>\\nprint(6 * 7)\\n</execute>", "It is 42."])

async def database():
    async with embedded_mongod(here):
        pass

response = ask(scripted())
report["answer"] = (response.output[0].outputs[0].logs, response.output_text)
tries = {
    "docker": lambda: ask(scripted(), sandbox="docker"),
    "litellm": lambda: ask("anthropic/claude-sonnet-4-5"),
    "litellm's model": lambda: ask(LiteLLMModel("anthropic/claude-sonnet-4-5")),
    "mcp": lambda: ask(scripted(), mcp_config=config),
    "embedded": lambda: anyio.run(database),
}
for name, attempt in tries.items():
    try:
        attempt()
    except Exception as error:
        report[name] = f"{type(error).__name__}: {error}"
report["auto"] = ask(scripted(), sandbox="auto").output_text
print(json.dumps(report))
"""


@pytest.fixture(scope="module")
def report(base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(run(base / "python", "-c", WITHOUT_EXTRAS, cwd=tmp_path_factory.mktemp("script")))
    return told


def test_the_base_runs_an_agent_with_local_sandboxes(report: dict[str, Any]) -> None:
    assert report["answer"] == ["42\n", "It is 42."]
    assert report["auto"] == "It is 42."


@pytest.mark.parametrize(
    ("part", "error", "extra"),
    [
        ("docker", "EngineUnavailable", "docker"),
        ("litellm", "ConfigurationError", "litellm"),
        ("litellm's model", "AnswerFailed", "litellm"),
        ("mcp", "ConfigurationError", "mcp"),
        ("embedded", "StoreUnavailable", "embedded"),
    ],
)
def test_what_is_missing_is_named_by_its_extra(report: dict[str, Any], part: str, error: str, extra: str) -> None:
    assert report[part].startswith(f"{error}: ")
    assert f"pip install 'codeact[{extra}]'" in report[part]


@pytest.mark.parametrize(
    ("command", "code", "extras"),
    [
        ("serve", 2, ["server", "embedded"]),
        ("serve --sandbox docker --model anthropic/claude-sonnet-4-5", 2, ["server", "embedded", "docker", "litellm"]),
        ("keys list", 1, ["server", "embedded"]),
        ("store reindex", 1, ["server", "embedded"]),
        ("dashboard", 2, ["dashboard"]),
    ],
)
def test_a_command_names_the_extras_that_it_needs(
    base: Path, tmp_path: Path, command: str, code: int, extras: list[str]
) -> None:
    said = run(base / "codeact", *command.split(), cwd=tmp_path, code=code)
    assert " ".join(["pip install", *(f"'codeact[{extra}]'" for extra in extras)]) in said
    assert "Traceback" not in said


def test_a_server_with_a_database_of_the_users_needs_no_embedded_one(base: Path, tmp_path: Path) -> None:
    said = run(base / "codeact", "serve", cwd=tmp_path, code=2, CODEACT_MONGODB_URI="mongodb://localhost")
    assert "pip install 'codeact[server]'." in said


OF_NAMESPACES = {"otel": {"opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"}}
"""Extras whose modules lie in a namespace that several distributions share."""


def test_the_extras_bring_the_modules_that_errors_ask_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {
        name: [each for each in map(Requirement, lines) if each.marker is None or each.marker.evaluate()]
        for name, lines in project["optional-dependencies"].items()
    }
    (whole,) = extras.pop("all")
    assert whole.extras == extras.keys() - {"dev"}
    assert MODULES.keys() == extras.keys() - {"dev", "sandbox"}
    providers = packages_distributions()
    for extra, modules in MODULES.items():
        tops = {module.partition(".")[0] for module in modules}
        brought = OF_NAMESPACES.get(extra) or {
            name.replace("_", "-").lower() for top in tops for name in providers.get(top, [top])
        }
        listed = {each.name.replace("_", "-") for each in extras[extra]} - {"uvloop", "codeact"}
        assert brought == listed, extra
