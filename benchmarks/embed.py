"""Measures how fast the embed appears, in a real Chromium.

    python -m benchmarks.embed          prints it as JSON

It uses a real `codeact serve` with the demo model, the example's host page on another origin, and a real kernel. The
figures are medians of alternating rounds, each in a new browser context, so that nothing is cached.

    loader_kb              the script of one line, compressed
    panel_kb               what the panel's first load transfers, compressed
    cold_visible_ms        a click without pointing first, until the panel's page is drawn
    cold_ready_ms          the same until a question can be sent
    hover_ready_ms         pointing at the launcher until a question could be sent
    warm_visible_ms        a click after that, until the panel is drawn
    first_output_ms        a starter question after that, until the first output of its code (the demo model writes
                           about as fast as a hosted one; its words come first)
"""

import asyncio
import gzip
import json
import os
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from playwright.async_api import Browser, async_playwright

from benchmarks.page import CHROMIUM, FLAGS
from benchmarks.served import free_port, until_ok
from codeact.server.routes.page import STATIC
from examples.embed.host import create_app

__all__ = ["measure"]

ROUNDS = 7
STARTER = "Count to 10, live"

OPEN_ROOTS = """
const attach = Element.prototype.attachShadow;
Element.prototype.attachShadow = function () { return attach.call(this, {mode: "open"}); };
"""
CLICK = """() => new Promise((done) => {
    const root = document.querySelector("codeact-embed").shadowRoot;
    const panel = root.querySelector(".panel");
    const started = performance.now();
    let ready = 0;
    codeact.on("ready", () => (ready = performance.now() - started));
    root.querySelector(".launcher").click();
    let visible = 0;
    const look = () => {
        if (!visible && panel.matches(".open.loaded")) visible = performance.now() - started;
        if (visible && (ready || window.wasReady)) requestAnimationFrame(() => done([visible, ready]));
        else requestAnimationFrame(look);
    };
    look();
})"""
READY = """() => new Promise((done) => {
    window.started = 0;
    const launcher = document.querySelector("codeact-embed").shadowRoot.querySelector(".launcher");
    launcher.addEventListener("pointerenter", () => (window.started = performance.now()));
    codeact.on("ready", () => { window.wasReady = performance.now() - window.started; done(); });
    window.listening = true;
})"""
FIRST_OUTPUT = """starter => new Promise((done) => {
    const started = performance.now();
    new MutationObserver((_, observer) => {
        if (!document.querySelector(".stdout")?.textContent) return;
        observer.disconnect();
        done(performance.now() - started);
    }).observe(document.body, {childList: true, subtree: true, characterData: true});
    [...document.querySelectorAll(".examples button")].find((one) => one.textContent === starter).click();
})"""
TRANSFERRED = """() => performance.getEntries()
    .filter((one) => one.encodedBodySize && !one.name.includes("/v1/"))
    .reduce((sum, one) => sum + one.encodedBodySize, 0)"""


@asynccontextmanager
async def _servers() -> AsyncIterator[str]:
    """Runs the example's page, and a server that it may embed; yields the page's origin."""
    key, port, host_port = secrets.token_urlsafe(16), free_port(), free_port()
    url, origin = f"http://127.0.0.1:{port}", f"http://localhost:{host_port}"
    with tempfile.TemporaryDirectory(prefix="codeact-bench-") as data_dir:
        settings = {
            "CODEACT_API_KEYS": key,
            "CODEACT_EMBED_ORIGINS": origin,
            "CODEACT_MODEL": "demo",
            "CODEACT_SANDBOX": "process",
            "CODEACT_DATA_DIR": data_dir,
            "CODEACT_PORT": str(port),
            "CODEACT_LOG_LEVEL": "error",
        }
        command = Path(sys.executable).with_name("codeact")
        child = await asyncio.create_subprocess_exec(
            command, "serve", env=os.environ | settings, cwd=data_dir, stdout=asyncio.subprocess.DEVNULL
        )
        app = create_app(codeact_url=url, api_key=key, origin=origin)
        host = uvicorn.Server(uvicorn.Config(app, port=host_port, log_level="error"))
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(host.serve())
                await until_ok(url + "/readyz", time.monotonic())
                yield origin
                host.should_exit = True
        finally:
            child.terminate()
            await child.wait()


async def measure() -> dict[str, float]:
    """Runs everything, in about a minute."""
    figures: dict[str, list[float]] = {}
    async with _servers() as origin, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for _ in range(ROUNDS):
            for measured in (await _cold(browser, origin), await _warm(browser, origin)):
                for name, value in measured.items():
                    figures.setdefault(name, []).append(value)
        await browser.close()
    loader = len(gzip.compress((STATIC / "embed.js").read_bytes(), 9)) / 1000
    medians = {name: round(statistics.median(values), 1) for name, values in figures.items()}
    return {"loader_kb": round(loader, 2)} | medians


async def _cold(browser: Browser, origin: str) -> dict[str, float]:
    context = await browser.new_context(viewport={"width": 1200, "height": 800})
    await context.add_init_script(OPEN_ROOTS)
    page = await context.new_page()
    await page.goto(origin, wait_until="networkidle")
    visible, ready = await page.evaluate(CLICK)
    transferred = await page.frames[1].evaluate(TRANSFERRED)
    await context.close()
    return {"panel_kb": transferred / 1000, "cold_visible_ms": visible, "cold_ready_ms": ready}


async def _warm(browser: Browser, origin: str) -> dict[str, float]:
    context = await browser.new_context(viewport={"width": 1200, "height": 800})
    await context.add_init_script(OPEN_ROOTS)
    page = await context.new_page()
    await page.goto(origin, wait_until="networkidle")
    hovering = asyncio.create_task(page.evaluate(READY))
    await page.wait_for_function("window.listening")
    await page.locator(".launcher").hover()
    await hovering
    visible, _ = await page.evaluate(CLICK)
    panel = page.frames[1]
    create = panel.get_by_role("button", name="New conversation")
    if await create.count():  # the previous round's conversation is still open
        await create.click()
    await panel.locator(".examples button:enabled").first.wait_for()
    output = await panel.evaluate(FIRST_OUTPUT, STARTER)
    figures = {
        "hover_ready_ms": await page.evaluate("window.wasReady"),
        "warm_visible_ms": visible,
        "first_output_ms": output,
    }
    await context.close()
    return figures


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure())))
