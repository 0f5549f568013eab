"""Every state of the chat, in both themes, is accessible to users who see little or nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.model_server import ModelServer
from tests.server.conftest import Running
from tests.web.axe import serious
from tests.web.chat import Chat
from tests.web.scenes import SCENES, Stage, states

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("names", SCENES, ids=" ".join)
def test_axe_finds_nothing_serious(
    names: tuple[str, ...],
    visit: Callable[..., Chat],
    model_server: ModelServer,
    demo: Running,
    scripted: Running,
    bare: Running,
    locked: Running,
    asking: Running,
    tmp_path: Path,
) -> None:
    urls = (server.url for server in (demo, scripted, bare, locked, asking))
    stage = Stage(visit, model_server, *urls, tmp_path)
    for name, chat in states(names, stage):
        for theme in ("light", "dark"):
            chat.page.emulate_media(color_scheme=theme)
            expect(chat.page.locator("html")).to_have_attribute("data-theme", theme)
            assert serious(chat.page, only_colours=theme == "dark") == [], (name, theme)
