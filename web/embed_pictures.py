"""Takes the pictures of the embed from the example's page: closed, open, in both themes, on a phone, customized.

.venv/bin/python examples/embed/demo.py
.venv/bin/python web/embed_pictures.py http://localhost:9000
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pictures import IMAGES  # type: ignore[import-not-found]
from playwright.sync_api import Browser, FrameLocator, Page, expect, sync_playwright

from tests.browser import FLAGS

BROWSER = "/usr/bin/chromium"
DRAWN = [*(flag for flag in FLAGS if flag != "--disable-gpu"), "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
"""As on a graphics card. Without one, Chromium leaves white points at round corners of frames that scroll."""
WIDE: dict[str, Any] = {"viewport": {"width": 1200, "height": 800}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 800},
    "device_scale_factor": 2,
    "has_touch": True,
    "is_mobile": True,
}
OPEN_ROOTS = """
const attach = Element.prototype.attachShadow;
Element.prototype.attachShadow = function () { return attach.call(this, {mode: "open"}); };
"""
OTHER = {"accent": "#d6336c", "position": "bottom-left", "title": "Ask Harbour", "theme": "dark", "greeting": "Ahoy!"}


def take(page: Page, name: str) -> None:
    page.screenshot(path=IMAGES / f"{name}.png")


@contextmanager
def opened(browser: Browser, url: str, theme: str, options: dict[str, Any]) -> Iterator[Page]:
    context = browser.new_context(color_scheme=theme, **options)
    context.add_init_script(OPEN_ROOTS)
    page = context.new_page()
    page.goto(url)
    page.wait_for_timeout(300)
    yield page
    context.close()


def panel(page: Page) -> FrameLocator:
    """Opens the chat in a new conversation."""
    frame = page.frame_locator("codeact-embed iframe")
    page.locator(".launcher").click()
    expect(frame.get_by_label("Your question")).to_be_visible()
    create = frame.get_by_role("button", name="New conversation")
    starter = frame.locator(".examples button").first
    expect(create.or_(starter).first).to_be_visible()
    if create.is_visible():
        create.click()
    expect(starter).to_be_enabled()
    page.mouse.move(0, 0)
    page.wait_for_timeout(500)
    return frame


def answered(page: Page, frame: FrameLocator, question: str) -> None:
    frame.get_by_role("button", name=question).click()
    expect(frame.get_by_role("article", name="Answer")).to_have_attribute("aria-busy", "false")
    page.mouse.move(0, 0)
    page.wait_for_timeout(500)


def main(url: str) -> None:
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=BROWSER, args=DRAWN) as browser,
    ):
        for theme in ("light", "dark"):
            with opened(browser, url, theme, WIDE) as page:
                take(page, f"embed-closed-{theme}")
                frame = panel(page)
                take(page, f"embed-open-{theme}")
                answered(page, frame, "Summarise")
                take(page, f"embed-answer-{theme}")
            with opened(browser, url, theme, PHONE) as page:
                frame = panel(page)
                take(page, f"embed-phone-open-{theme}")
                answered(page, frame, "Plot")
                take(page, f"embed-phone-answer-{theme}")
        with opened(browser, url, "light", WIDE) as page:
            page.evaluate("options => codeact.init(options)", OTHER)
            page.evaluate("document.documentElement.style.setProperty('--codeact-radius', '4px')")
            answered(page, panel(page), "Plot")
            take(page, "embed-themed")


if __name__ == "__main__":
    expect.set_options(timeout=60_000)
    main(sys.argv[1])
