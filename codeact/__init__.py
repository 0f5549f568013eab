"""CodeAct agents: a model acts by writing Python, which runs in a sandbox and streams back live."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codeact.api import Agent, AsyncAgent

__all__ = ["Agent", "AsyncAgent"]


def __getattr__(name: str) -> Any:
    """Imports the API when it is first used: `codeact --help` and the settings stay quick."""
    if name in __all__:
        from codeact import api

        return getattr(api, name)
    raise AttributeError(f"module 'codeact' has no attribute {name!r}")
