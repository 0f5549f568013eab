"""The documentation: it builds without a warning, names only what exists, and opens without a network."""

import os
import re
import subprocess
import threading
import tomllib
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from playwright.sync_api import Request, sync_playwright

from tests.browser import chromium

ROOT = Path(__file__).parents[1]
MKDOCS = ROOT / ".venv-docs" / "bin" / "mkdocs"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob(".github/**/*.md")])
FOLDERS = [
    path.name for path in ROOT.iterdir() if path.is_dir() and (not path.name.startswith(".") or path.name == ".ci")
]
NAMED = re.compile(r"`((?!web/\w+\.(?:[A-Z]|prose|table|coloured))(?:[\w.-]+/)+[\w.-]*)`")
NOT_THERE = {"docker/.env"}
"""Names on a page that the reader creates."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built like in `make docs`; a warning fails the test."""
    folder = tmp_path_factory.mktemp("site")
    command = [MKDOCS, "build", "--strict", "--site-dir", folder]
    environment = {"PATH": f"{MKDOCS.parent}:{os.environ['PATH']}", "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    return folder


class Loaded(HTMLParser):
    """The URLs that a browser fetches for a page."""

    SOURCES: ClassVar = {"script": "src", "img": "src", "iframe": "src", "link": "href"}

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in self.SOURCES and given.get("rel") not in ("canonical", "next", "prev"):
            self.found.add(given.get(self.SOURCES[tag]) or "")


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 25
    for page in pages:
        loaded = Loaded()
        loaded.feed(page.read_text())
        assert [url for url in loaded.found if re.match(r"(https?:)?//", url)] == [], page


def test_the_reference_has_every_public_name(site: Path) -> None:
    import codeact
    import sandbox_pool

    for package in (codeact, sandbox_pool):
        page = (site / "reference" / package.__name__ / "index.html").read_text()
        for name in package.__all__:
            assert f'id="{package.__name__}.{name}"' in page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    named = {path for path in NAMED.findall(page.read_text()) if path.split("/")[0] in FOLDERS}
    assert sorted(path for path in named - NOT_THERE if not (ROOT / path).exists()) == []


def test_every_extra_is_in_the_table_of_extras() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    table = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "installing.md").read_text(), re.MULTILINE)
    assert sorted(table) == sorted(extras.keys() - {"dev"})


def test_every_file_in_the_drawings_exists_once() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    drawings = "".join(re.findall(r"```mermaid\n(.*?)```", page, re.DOTALL))
    named = set(re.findall(r"[\w/]+\.py", drawings))
    assert len(named) > 10
    sources = [path.as_posix() for top in ("codeact", "server", "sandbox_pool") for path in ROOT.glob(f"{top}/**/*.py")]
    for name in named:
        real = {Path(path).resolve() for path in sources if path.endswith(f"/{name}")}
        assert len(real) == 1, name


def test_one_turn_can_be_followed_through_ten_files() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    steps = re.findall(r"^\d+\. `(\S+\.py)`", page, re.MULTILINE)
    assert 0 < len(steps) <= 10


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
def test_pages_open_without_a_network_and_fit_the_screen(address: str, width: int) -> None:
    requests: list[Request] = []
    with sync_playwright() as playwright, chromium(playwright) as browser:
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.on("request", lambda request: requests.append(request))
        for path in ("", "configuration/", "reference/sandbox_pool/", "architecture/"):
            page.goto(address + path)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        # The theme puts each drawing into the place of its text once it is drawn.
        page.locator("div.mermaid").nth(2).wait_for()
        assert page.locator("pre.mermaid").count() == 0
    assert [each.url for each in requests if not each.url.startswith((address, "data:", "blob:"))] == []
