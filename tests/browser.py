"""Starts Chromium for the tests.

It prefers the headless shell: Chromium without windows, which take as much processor time as the pages in them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Playwright

from tests.needs import missing

__all__ = ["chromium"]

PATHS = (Path("/usr/bin/chromium-headless-shell"), Path("/usr/bin/chromium"))
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def chromium(playwright: Playwright) -> Iterator[Browser]:
    """Starts a browser and closes it at the end. Skips or fails the test if none is installed."""
    path = next(filter(Path.exists, PATHS), None)
    if path is None:
        missing("browser", f"{PATHS[0]} is missing: apt-get install chromium-headless-shell")
    with playwright.chromium.launch(executable_path=path, args=FLAGS) as browser:
        yield browser
