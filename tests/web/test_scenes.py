"""Every state of the chat, in both themes, is accessible to users who see little or nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.model_server import ModelServer
from tests.server.conftest import Running
from tests.web.chat import Chat
from tests.web.scenes import SCENES, Stage

pytestmark = pytest.mark.browser

AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"


def serious(chat: Chat) -> list[str]:
    """The serious problems that axe finds: rule and element, one per line."""
    found = chat.page.evaluate("axe.run(document, {iframes: false, resultTypes: ['violations']})")
    return [
        f"{violation['id']}: {node['html'][:200]}"
        for violation in found["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize("name", SCENES)
def test_axe_finds_nothing_serious(
    name: str,
    visit: Callable[..., Chat],
    model_server: ModelServer,
    demo: Running,
    scripted: Running,
    bare: Running,
    locked: Running,
    asking: Running,
    tmp_path: Path,
) -> None:
    def still(url: str, **options: object) -> Chat:
        return visit(url, reduced_motion="reduce", color_scheme="light", **options)

    urls = (server.url for server in (demo, scripted, bare, locked, asking))
    stage = Stage(still, model_server, *urls, tmp_path)
    for chat in SCENES[name](stage):
        chat.page.evaluate(AXE.read_text("utf-8"))
        assert serious(chat) == []
        chat.page.emulate_media(color_scheme="dark")
        expect(chat.page.locator("html")).to_have_attribute("data-theme", "dark")
        assert serious(chat) == []
