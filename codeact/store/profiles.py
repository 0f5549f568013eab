"""The plain value of a profile."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Profile"]


@dataclass(frozen=True, slots=True)
class Profile:
    """What somebody has saved to ask with, under a name: a model, instructions, tools and files.

    Times are Unix seconds. `tools` are MCP servers in the form of a request. `file_ids` are uploaded files that belong
    to the profile alone. Whoever has `token`, and a key of this server, can read and copy the profile, with the files'
    contents if `gives_files`; None: it is not shared.
    """

    id: str
    owner: str
    name: str
    description: str
    instructions: str
    model: str
    effort: str
    tools: Sequence[dict[str, Any]]
    file_ids: Sequence[str]
    created_at: float
    updated_at: float
    token: str | None = None
    gives_files: bool = False
