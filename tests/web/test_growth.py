"""Drawing a stranger's text takes linear time in a real browser: twice the text costs at most 2.5 times the time."""

import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from web.build import MODULES, WEB, find_node


@pytest.fixture(scope="module")
def drawing(page_built: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code that draws and measures, as one script."""
    folder = tmp_path_factory.mktemp("drawing")
    node, _ = find_node()
    configuration = ["--config", "tests/vite.drawing.config.ts", "--outDir", folder, "--logLevel", "error"]
    subprocess.run([node, MODULES / "vite" / "bin" / "vite.js", "build", *configuration], cwd=WEB, check=True)
    return folder / "drawing.js"


@pytest.mark.parametrize("reader", ["web/html.prose", "web/html.table"])
def test_every_text_is_drawn_in_linear_time(browser: Browser, drawing: Path, reader: str) -> None:
    page = browser.new_page()
    page.add_script_tag(path=drawing)
    assert page.evaluate("reader => grown(reader)", reader) == []
    page.close()
