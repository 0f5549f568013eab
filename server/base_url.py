"""The address under which the current task's client reached this server, for absolute URLs in answers."""

from contextvars import ContextVar

__all__ = ["base_url", "set_base_url"]

_base_url: ContextVar[str] = ContextVar("base_url", default="")


def set_base_url(url: str) -> None:
    """Sets the address for this task and those that it starts. `url` must not end with a slash."""
    _base_url.set(url)


def base_url() -> str:
    """`https://host` without a trailing slash; empty outside of a request, or if its `Host` is malformed."""
    return _base_url.get()
