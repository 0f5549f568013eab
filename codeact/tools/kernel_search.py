"""Searches functions by their names and descriptions.

The kernel gets the text of this module together with the functions.
"""

import re
from collections.abc import Mapping
from typing import Any


class Found(str):
    """A text that is shown without quotes, both by `print` and as the last line of a block."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def search(query: str, signatures: Mapping[str, str], functions: Mapping[str, Any], limit: int = 10) -> Found:
    """Signatures and first lines of the functions that match the most words of the query; words in names count more."""
    words = set(re.findall(r"[a-z0-9]+", str(query).lower()))
    scores = []
    for path, signature in signatures.items():
        text = functions[path].__doc__ or ""
        named, described = re.sub("([a-z])([A-Z])", r"\1 \2", path).lower(), text.lower()
        score = sum(3 * (word in named) + (word in described) for word in words)
        if score:
            scores.append((-score, path, f"{signature}\n    {text.partition(chr(10))[0]}"))
    found = [line for _, _, line in sorted(scores)[:limit]]
    return Found("\n".join(found) or f"No function has a word of {query!r}. All names stand in the instructions.")
