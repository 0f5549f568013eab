"""Takes the pictures of the docs: every state of the chat in both themes, on desktop and phone.

    python web/pictures.py              takes all of them, in about five minutes
    python web/pictures.py plot share   takes only these

Each scene of `tests/web/scenes.py` is played once for the desktop and once for the phone.
"""

import io
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
from PIL import Image
from playwright.sync_api import Browser, expect, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.browser import chromium
from tests.model_server import ModelServer
from tests.server.conftest import running, settings_of
from tests.web.chat import Chat
from tests.web.scenes import SCENES, Stage, states
from web.build import build

IMAGES = Path(__file__).parents[1] / "docs" / "images"
FACES: dict[str, dict[str, Any]] = {
    "": {"viewport": {"width": 1200, "height": 860}},
    "-phone": {
        "viewport": {"width": 390, "height": 780},
        "device_scale_factor": 1.5,
        "has_touch": True,
        "is_mobile": True,
    },
    "-wide": {"viewport": {"width": 1920, "height": 1000}},
}
WIDE = ("plot",)
COLOURS = 256
EARLIER = (
    "Which weekday is my birthday?",
    "Compare two ways to sort",
    "Draw a Mandelbrot set",
    "Clean up this CSV file",
)
README_PICTURE = "plot"


def main(*names: str) -> None:
    build()
    with ExitStack() as stack:
        files = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        model = stack.enter_context(ModelServer())
        urls = {name: stack.enter_context(server) for name, server in servers(files / "data", model).items()}
        playwright = stack.enter_context(sync_playwright())
        browser = stack.enter_context(chromium(playwright))
        earlier = seed(urls["scripted"], model)
        for scene in SCENES:
            for face, options in FACES.items():
                wanted = {name for name in scene if name in (names or scene) and (face != "-wide" or name in WIDE)}
                if wanted:
                    with visiting(browser, options) as visit:
                        stage = Stage(visit, model, **urls, files=files, phone=face == "-phone")
                        for name, chat in states(scene, stage):
                            if name in wanted:
                                take(chat, name, face)
                    tidy(urls["scripted"], earlier)
                    print(*sorted(wanted), face)  # noqa: T201


def servers(data_dir: Path, model: ModelServer) -> dict[str, Any]:
    data_dir.mkdir()
    own = {"models": "openai/scripted,openai/other", "model": None, "model_api_base": model.base_url, "pool_min": 2}

    @contextmanager
    def url(path: str | None = None, **settings: Any) -> Iterator[str]:
        before = os.environ["PATH"]
        os.environ["PATH"] = path or before
        with running(settings_of(data_dir, **settings)) as server:
            os.environ["PATH"] = before
            yield server.url

    return {
        "demo": url(),
        "scripted": url(**own),
        "bare": url(path="/nowhere", **own),
        "locked": url(api_keys=("secret",), pool_min=0),
        "asking": url(**own | {"approval": "code"}),
    }


def seed(url: str, model: ModelServer) -> set[str]:
    """Creates the conversations that are in the list in every picture, and returns their ids."""
    with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
        for question in EARLIER:
            model.reply("Here it is.")
            client.post("/v1/responses", json={"input": question}).raise_for_status()
        return {one["id"] for one in client.get("/v1/conversations").json()["data"]}


def tidy(url: str, kept: set[str]) -> None:
    """Deletes all other conversations."""

    with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
        for one in client.get("/v1/conversations?limit=100").json()["data"]:
            if one["id"] not in kept:
                client.delete(f"/v1/conversations/{one['id']}").raise_for_status()


@contextmanager
def visiting(browser: Browser, options: dict[str, Any]) -> Iterator[Any]:
    with ExitStack() as stack:

        def visit(url: str, *, expected: tuple[str, ...] = ()) -> Chat:
            context = browser.new_context(color_scheme="light", reduced_motion="reduce", **options)
            stack.callback(context.close)
            page = context.new_page()
            page.goto(url)
            return Chat(page)

        yield visit


def take(chat: Chat, name: str, face: str) -> None:
    chat.page.mouse.move(0, 0)
    for theme in ("light", "dark"):
        chat.page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        expect(chat.page.locator("html")).to_have_attribute("data-theme", theme)
        chat.page.wait_for_timeout(150)  # the last frame
        path = IMAGES / "chat" / f"{name}-{theme}{face}.webp"
        shot = Image.open(io.BytesIO(chat.page.screenshot())).convert("RGB")
        picture = shot.quantize(COLOURS, dither=Image.Dither.NONE)
        picture.convert("RGB").save(path, lossless=True, quality=10, method=2)
        if (name, theme, face) == (README_PICTURE, "light", ""):
            picture.save(IMAGES / "page.png", optimize=True)


if __name__ == "__main__":
    expect.set_options(timeout=30_000)
    main(*sys.argv[1:])
