"""Takes the pictures of the dashboard for the docs: each page in both themes and on a phone.

The arguments are addresses. FILLED is a dashboard with many conversations (benchmarks/history.py). LIVE is the
dashboard of the server at SERVER, which runs the demo model and has answered its examples. LOCKED is a dashboard that
asks for a key, and AWAY one whose database does not answer.

python tests/streamlit_app/pictures.py FILLED LIVE SERVER LOCKED AWAY
"""

import io
import json
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

IMAGES = Path(__file__).parents[2] / "docs" / "images"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
WIDTH, PHONE, PHONE_HEIGHT = 1180, 390, 760
COLOURS = 256
IS_DRAWN = """() => document.querySelector("[data-testid=stApp]").dataset.testScriptState !== "running"
  && !document.querySelector("[data-testid=stSkeleton]")
  && [...document.querySelectorAll("[data-testid=stVegaLiteChart]")].every((one) => one.querySelector("canvas, svg"))"""
Act = Callable[[Page], None]

expect.set_options(timeout=60_000)


def taken(
    browser: Browser, url: str, theme: str, *, width: int = WIDTH, height: int, act: Act | None = None
) -> Image.Image:
    """Returns a screenshot of a window of this size, once the page no longer changes."""
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=theme)  # type: ignore[arg-type]
    page.goto(url)
    page.locator("h1, h3").first.wait_for(timeout=60_000)
    settle(page)
    if act is not None:
        act(page)
        settle(page)
    page.mouse.move(0, 0)
    picture = Image.open(io.BytesIO(page.screenshot()))
    page.close()
    return picture.convert("RGB")


def settle(page: Page) -> None:
    """Waits until the page's script is not running and all charts are drawn."""
    page.wait_for_function(IS_DRAWN, timeout=60_000)
    page.wait_for_timeout(1_500)  # Fonts, transitions and later parts of the page have no event.
    page.wait_for_function(IS_DRAWN, timeout=60_000)


def save(picture: Image.Image, name: str) -> None:
    few = picture.quantize(COLOURS, dither=Image.Dither.NONE)
    few.save(IMAGES / f"dashboard-{name}.png", optimize=True)


def beside(pictures: list[Image.Image]) -> Image.Image:
    gap = 12
    width = sum(picture.width for picture in pictures) + gap * (len(pictures) - 1)
    whole = Image.new("RGB", (width, max(picture.height for picture in pictures)), "#8b8b88")
    at = 0
    for picture in pictures:
        whole.paste(picture, (at, 0))
        at += picture.width + gap
    return whole


def conversation(server: str, words: str) -> str:
    with urllib.request.urlopen(f"{server}/v1/conversations?query={urllib.parse.quote(words)}") as answer:
        return str(json.load(answer)["data"][0]["id"])


def ask(server: str, text: str) -> None:
    body = json.dumps({"input": text, "background": True}).encode()
    urllib.request.urlopen(urllib.request.Request(f"{server}/v1/responses", body, {"Content-Type": "application/json"}))


def open_ledger(page: Page) -> None:
    page.get_by_text("demo · ").last.click()
    page.get_by_test_id("stVegaLiteChart").wait_for()


def half_way(page: Page) -> None:
    page.get_by_role("slider").focus()
    for _ in range(45):
        page.keyboard.press("ArrowLeft")
    expect(page.get_by_text("still answering …")).to_be_visible()


def tail(server: str) -> Act:
    def act(page: Page) -> None:
        ask(server, "Count to 10, live")
        ask(server, "Count to 10, live")
        if (page.viewport_size or {})["width"] > PHONE:  # On a phone the switch is behind the menu.
            page.get_by_text("Allow changes").click()
        page.get_by_role("button", name="Tail").first.click()
        expect(page.get_by_test_id("stCode").last).to_contain_text("3")

    return act


def examine(page: Page) -> None:
    page.get_by_role("button", name="Examine").click()
    page.get_by_text("well", exact=True).first.wait_for(timeout=120_000)


def refused(page: Page) -> None:
    page.get_by_test_id("stAlert").wait_for()


def pages(filled: str, live: str, server: str, locked: str, away: str) -> list[tuple[str, str, int, Act | None, bool]]:
    """Returns for each page: name, address, height, action, and whether to take a picture on a phone, too."""
    mended = conversation(server, "mistake")
    return [
        ("overview", f"{filled}/?refresh=false", 1010, None, True),
        ("conversations", f"{filled}/conversations?error=yes&status=completed&sort=most+tokens", 900, None, True),
        ("conversation", f"{live}/conversation?id={mended}", 1560, open_ledger, True),
        ("replay", f"{live}/conversation?id={mended}&view=Replay", 900, half_way, True),
        ("feedback", f"{live}/feedback", 760, None, True),
        ("errors", f"{filled}/errors?period=90+d&refresh=false", 1180, None, True),
        ("latency", f"{filled}/latency?period=30+d&refresh=false", 1270, None, True),
        ("cost", f"{filled}/cost?period=1+y&refresh=false", 960, None, True),
        ("live", f"{live}/live", 900, tail(server), True),
        ("sandboxes", f"{live}/sandboxes", 800, lambda page: page.wait_for_timeout(8_000), True),
        ("audit", f"{live}/audit", 860, None, True),
        ("health", f"{live}/health", 820, examine, True),
        ("login", locked, 480, None, False),
        ("empty", f"{live}/?owner=nobody&period=1+h", 480, None, False),
        ("away", f"{away}/conversations", 480, refused, False),
    ]


def main(only: list[str], *addresses: Any) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        for name, url, height, act, on_phone in pages(*addresses):
            if only and name not in only:
                continue
            for theme in ("light", "dark"):
                save(taken(browser, url, theme, height=height, act=act), f"{name}-{theme}")
            if on_phone:
                small = [
                    taken(browser, url, theme, width=PHONE, height=PHONE_HEIGHT, act=act) for theme in ("light", "dark")
                ]
                save(beside(small), f"{name}-phone")
        browser.close()


if __name__ == "__main__":
    main(sys.argv[6:], *(address.rstrip("/") for address in sys.argv[1:6]))
