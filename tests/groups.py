"""Which tests share a worker of pytest-xdist: a test's file enters, the name of its group and its place in line leave.

A group runs in one worker, one test after the other; groups run side by side. A file is a group of its own unless a
line here or its own `pytestmark = pytest.mark.xdist_group("name")` says otherwise.
"""

import re
from functools import cache
from pathlib import Path

__all__ = ["group_of", "place_of"]

ROOT = Path(__file__).parents[1]
SHARED = {
    "tests/attacks/": "attacks",
    "tests/docker/": "images",
    "tests/web/": "browser",
}
"""Folders whose files share what is expensive to start."""

FIRST = ("own", "browser", "images")
"""Groups that start first, each in a fresh worker: `own` counts all processes, threads and descriptors of its process,
so that nothing else may have run in it; the others take longest.
"""
EARLY = ("kill", "attacks")

MARKED = re.compile(r'^pytestmark = [^=]*?xdist_group\("(\w+)"\)', re.MULTILINE)


@cache
def group_of(path: str) -> str:
    """The group of the tests of a file, by its path from the root of the checkout."""
    for folder, group in SHARED.items():
        if path.startswith(folder):
            return group
    marked = MARKED.search((ROOT / path).read_text("utf-8"))
    return marked[1] if marked else path


def place_of(group: str) -> int:
    """Groups with a smaller number start earlier, so that no long one is left for the end."""
    order = (*FIRST, *EARLY)
    return order.index(group) if group in order else len(order)
