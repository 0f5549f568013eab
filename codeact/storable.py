"""Says whether MongoDB can store a JSON value as it is."""

from typing import Any

__all__ = ["not_storable"]

DEEPEST = 80
"""MongoDB takes 100 levels, of which documents have some around a value."""


def not_storable(value: Any) -> str | None:
    """Why MongoDB cannot store the value: names with a zero byte, integers beyond 64 bits, or too many levels.

    Returns None if it can.
    """
    layer = [value]
    for _ in range(DEEPEST):
        for one in layer:
            if isinstance(one, int) and not -(2**63) <= one < 2**63:
                return "it has a number of more than 64 bits"
            if isinstance(one, dict) and any("\0" in str(name) for name in one):
                return "it has a name with a zero byte"
        layer = [
            inner
            for one in layer
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        if not layer:
            return None
    return "it is nested too deep"
