"""The browser of the tests: what this machine has of Chromium enters, a running browser leaves.

The headless shell is Chromium without the windows around its pages, which cost as much processor time as the pages.
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
    """A browser that is closed at the end; where none is installed the test ends here."""
    path = next(filter(Path.exists, PATHS), None)
    if path is None:
        missing("browser", f"{PATHS[0]} is missing: apt-get install chromium-headless-shell")
    with playwright.chromium.launch(executable_path=path, args=FLAGS) as browser:
        yield browser
