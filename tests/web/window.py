"""The browser of these tests, which stays open from file to file, and the contexts of its tabs.

Starting a browser and its driver takes half a second of processor time. A page opens a tenth cheaper in a context whose
cache has its scripts, so a context that has nothing special is used again, emptied.
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, sync_playwright

from tests.browser import chromium

__all__ = ["LIMIT_MS", "SIZE", "Window"]

LIMIT_MS = 90_000
"""How long a step of a page may take: Chromium is the first to be late on a busy machine."""

SIZE: ViewportSize = {"width": 1100, "height": 900}


class Window:
    """A browser, and contexts that tests use one after the other."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._browser: Browser | None = None
        self._free: dict[str, list[BrowserContext]] = defaultdict(list)

    def browser(self) -> Browser:
        """Returns the browser. Starts it if necessary: from then on, this thread can run no other event loop."""
        if self._browser is None:
            self._browser = self._stack.enter_context(chromium(self._stack.enter_context(sync_playwright())))
        return self._browser

    def close(self) -> None:
        self._browser = None
        self._free.clear()
        self._stack.close()

    @contextmanager
    def context(self, script: str, **options: Any) -> Iterator[BrowserContext]:
        """Opens a context that a test may change, whose pages begin with this script.

        Its reader wants reduced motion, since drawing an animation takes a fifth of the processor time of these tests.
        """
        with self.browser().new_context(**{"viewport": SIZE, "reduced_motion": "reduce"} | options) as context:
            context.set_default_timeout(LIMIT_MS)
            context.add_init_script(script)
            yield context

    @contextmanager
    def tab(self, url: str, script: str) -> Iterator[Page]:
        """Opens a blank tab that shares nothing with other open tabs, and nothing but a cache with earlier ones."""
        free = self._free[script]
        context = free.pop() if free else self._stack.enter_context(self.context(script))
        page = context.new_page()
        address = urlsplit(url)
        if address.netloc:
            tools = context.new_cdp_session(page)
            origin = f"{address.scheme}://{address.netloc}"
            tools.send("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "all"})
            tools.detach()
        yield page
        for page in context.pages:
            page.close()
        context.clear_cookies()
        context.set_offline(False)
        free.append(context)
