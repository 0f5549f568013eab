"""Lets axe look for problems of accessibility in a page or a frame."""

from functools import cache
from pathlib import Path
from typing import Any

from playwright.sync_api import Frame, Page

__all__ = ["serious"]

AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"

COLOURS = ["color-contrast", "link-in-text-block"]
"""The rules about colours."""


@cache
def _script() -> str:
    return AXE.read_text("utf-8")


def serious(place: Page | Frame, *, only_colours: bool = False) -> list[str]:
    """Returns the serious problems that axe finds: rule and element.

    With `only_colours`, it applies only the rules about colours. They suffice for the second theme of a page, since
    themes differ in nothing else.
    """
    if not place.evaluate("'axe' in window"):
        place.evaluate(_script())
    options: dict[str, Any] = {"iframes": False, "resultTypes": ["violations"]}
    if only_colours:
        options["runOnly"] = COLOURS
    found = place.evaluate("options => axe.run(document, options)", options)
    return [
        f"{violation['id']}: {node['html'][:200]}"
        for violation in found["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]
