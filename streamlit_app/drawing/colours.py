"""One colour for each meaning, for light and dark backgrounds. Pure.

The colours of one chart differ by at least 20 (CIE76), also for colour-blind readers, and stand out from both
backgrounds.
"""

__all__ = [
    "AMBER",
    "BLUE",
    "FAILURE_COLOURS",
    "GREEN",
    "GREY",
    "KINDS",
    "PERCENTILES",
    "PHASES",
    "POOL",
    "RED",
    "STATUSES",
    "status_badge",
]

GREEN, BLUE, SKY, AMBER, RED, GREY = "#237656", "#5749ea", "#5dace5", "#dd9602", "#bf3610", "#a9a8a5"

STATUSES = {
    "completed": GREEN,
    "in progress": BLUE,
    "queued": SKY,
    "incomplete": AMBER,
    "cancelled": GREY,
    "failed": RED,
}
BADGES = {
    "completed": "green",
    "in progress": "blue",
    "queued": "blue",
    "incomplete": "orange",
    "cancelled": "gray",
    "failed": "red",
    "empty": "gray",
}
"""Streamlit's colour names, for badges and chips."""
PERCENTILES = {"p50": BLUE, "p95": AMBER, "p99": RED}
FAILURE_COLOURS = {"exception": RED, "limit": AMBER, "failed run": GREY}
POOL = {"warm": GREEN, "leased": BLUE, "starting": AMBER}
KINDS = {"cached input": SKY, "new input": BLUE, "output": AMBER}
PHASES = {
    "waiting for the sandbox": "#a7a6a3",
    "waiting for the model": "#64615a",
    "reasoning": "#dd8cda",
    "writing": "#8380ed",
    "writing code": "#28698e",
    "running code": "#18c073",
    "code that failed": "#b74934",
    "calling tools": "#bd7914",
}


def status_badge(status: str | None) -> str:
    """A badge in Markdown."""
    shown = (status or "empty").replace("_", " ")
    return f":{BADGES.get(shown, 'gray')}-badge[{shown}]"
