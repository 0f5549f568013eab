"""A server with the demo model enters, the pictures of the docs leave: each state of the chat, as a person sees it.

codeact serve --model demo --data-dir /tmp/pictures --port 8377
python web/pictures.py http://localhost:8377
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect, sync_playwright

IMAGES = Path(__file__).parents[1] / "docs" / "images"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
WIDE: dict[str, Any] = {"viewport": {"width": 1200, "height": 800}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 800},
    "device_scale_factor": 2,
    "has_touch": True,
    "is_mobile": True,
}

expect.set_options(timeout=60_000)


def ask(page: Page, question: str, *, wait: bool = True) -> None:
    page.get_by_label("Your question").fill(question)
    expect(page.get_by_role("button", name="Send")).to_be_enabled()
    page.keyboard.press("Enter")
    answer = page.get_by_role("article", name="Answer").last
    if wait:
        expect(answer).to_have_attribute("aria-busy", "false")
    else:
        expect(answer.locator(".stdout")).to_contain_text("4")
    page.mouse.move(0, 0)
    page.wait_for_timeout(400)  # transitions


def take(page: Page, name: str) -> None:
    page.screenshot(path=IMAGES / f"{name}.png")


def answers(page: Page, theme: str) -> None:
    take(page, f"chat-empty-{theme}")
    page.get_by_label("Dismiss").click()
    ask(page, "Plot a sine wave")
    take(page, f"chat-plot-{theme}")
    ask(page, "Make a mistake, then fix it")
    take(page, f"chat-mistake-{theme}")
    ask(page, "Summarise a table of sales")
    take(page, f"chat-table-{theme}")
    ask(page, "Count to 10, live", wait=False)
    take(page, f"chat-live-{theme}")
    page.keyboard.press("Escape")
    expect(page.get_by_role("article", name="Answer").last).to_have_attribute("aria-busy", "false")
    page.wait_for_timeout(300)
    take(page, f"chat-stopped-{theme}")
    page.get_by_role("button", name="Where the time went").last.click()
    page.wait_for_timeout(300)
    take(page, f"chat-ledger-{theme}")
    page.keyboard.press("Escape")
    for name in ("Settings", "Keyboard shortcuts", "Share"):
        page.get_by_role("button", name=name, exact=True).click()
        page.wait_for_timeout(300)
        take(page, f"chat-{name.split()[-1].lower()}-{theme}")
        page.keyboard.press("Escape")


def phone(page: Page, theme: str) -> None:
    take(page, f"chat-phone-empty-{theme}")
    page.get_by_label("Dismiss").click()
    ask(page, "Plot a sine wave")
    take(page, f"chat-phone-plot-{theme}")
    page.get_by_label("Show conversations").click()
    page.wait_for_timeout(400)
    take(page, f"chat-phone-list-{theme}")


@contextmanager
def opened(browser: Browser, url: str, theme: str, options: dict[str, Any]) -> Iterator[Page]:
    context = browser.new_context(color_scheme=theme, **options)
    page = context.new_page()
    page.goto(url)
    expect(page.locator(".examples button")).to_have_count(4)
    page.wait_for_timeout(400)
    yield page
    context.close()


def main(url: str) -> None:
    faces: list[tuple[Callable[[Page, str], None], dict[str, Any]]] = [(answers, WIDE), (phone, PHONE)]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        for theme in ("light", "dark"):
            for face, options in faces:
                with opened(browser, url, theme, options) as page:
                    face(page, theme)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1])
