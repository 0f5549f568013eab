"""CodeAct agents: a model acts by writing Python, which runs in a sandbox and streams its output live."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codeact.api.agent import Agent
    from codeact.api.async_agent import AsyncAgent
    from codeact.api.images import Image
    from codeact.api.pool import Pool
    from codeact.api.result import Result
    from codeact.api.states import Checkpoint
    from codeact.api.written_files import OutputFile
    from codeact.events.certificates import Certificate
    from codeact.http_client import verify
    from codeact.tools.approval import ApprovalQuestion, Ruling
    from codeact.tools.host_functions import Tool

__all__ = [
    "Agent",
    "ApprovalQuestion",
    "AsyncAgent",
    "Certificate",
    "Checkpoint",
    "Image",
    "OutputFile",
    "Pool",
    "Result",
    "Ruling",
    "Tool",
    "verify",
]

_MODULES = {
    "Agent": "api.agent",
    "ApprovalQuestion": "tools.approval",
    "AsyncAgent": "api.async_agent",
    "Certificate": "events.certificates",
    "Checkpoint": "api.states",
    "Image": "api.images",
    "OutputFile": "api.written_files",
    "Pool": "api.pool",
    "Result": "api.result",
    "Ruling": "tools.approval",
    "Tool": "tools.host_functions",
    "verify": "http_client",
}


def __getattr__(name: str) -> Any:
    """Imports a name of the API when it is first used, so that `codeact --help` stays fast."""
    if name in _MODULES:
        return getattr(import_module(f"codeact.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'codeact' has no attribute {name!r}")
