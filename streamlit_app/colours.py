"""One colour for each meaning, on light and dark ground alike: names enter, colours leave. Pure."""

__all__ = ["PHASES", "STATUSES", "TIMES", "status_badge"]

STATUSES = {
    "completed": "#2f9e6b",
    "in progress": "#4c7fe0",
    "queued": "#8aa9ea",
    "incomplete": "#d99a2b",
    "cancelled": "#8b93a1",
    "failed": "#d8504d",
}
BADGES = {
    "completed": "green",
    "in_progress": "blue",
    "queued": "blue",
    "incomplete": "orange",
    "cancelled": "gray",
    "failed": "red",
}
TIMES = {"50th": "#4c7fe0", "95th": "#d99a2b", "99th": "#d8504d"}
PHASES = {
    "waiting for the sandbox": "#8b93a1",
    "waiting for the model": "#b9a3e3",
    "reasoning": "#8f6fd0",
    "writing": "#4c7fe0",
    "writing code": "#2aa6b8",
    "running code": "#2f9e6b",
    "code that failed": "#d8504d",
    "calling tools": "#d99a2b",
}


def status_badge(status: str | None) -> str:
    """Markdown."""
    return f":{BADGES.get(status or '', 'gray')}-badge[{(status or 'empty').replace('_', ' ')}]"
