"""Measures the files and directories that a block of code would delete, for the rules of approval."""

from collections.abc import Callable, Collection
from pathlib import PurePosixPath

from codeact.workspaces.workspace import Workspace
from sandbox_pool.errors import FileError, SandboxError

__all__ = ["PathSizes"]

MOST_PATHS = 100
"""Code that deletes more paths than this is not measured."""


class PathSizes:
    """The sizes of paths in a workspace. `block_id` returns the id of the block that is being judged.

    A path is measured once for each block, since a statement that runs early may have deleted it by the next time.
    """

    def __init__(self, workspace: Workspace, block_id: Callable[[], str]) -> None:
        self._workspace = workspace
        self._block_id = block_id
        self._measured = ""  # The block to which these sizes belong.
        self._sizes: dict[str, int] = {}

    async def of(self, paths: Collection[str]) -> int | None:
        """Returns how many bytes the files and directories at these paths have; None if unknown."""
        if self._workspace.living is None or len(paths) > MOST_PATHS:
            return None
        if (block := self._block_id()) != self._measured:
            self._measured, self._sizes = block, {}
        fresh = set(paths) - self._sizes.keys()
        if fresh and not await self._measure(fresh):
            return None
        return sum(self._sizes[path] for path in paths)

    async def _measure(self, paths: Collection[str]) -> bool:
        """Measures these paths of the workspace. Returns False if the size of one is unknown."""
        assert self._workspace.living is not None
        try:
            listed = await self._workspace.living.list_files()
        except (FileError, SandboxError):
            return False
        if not listed.complete:
            return False
        for text in paths:
            path = PurePosixPath(text)
            inside = path.relative_to("/workspace") if path.is_relative_to("/workspace") else path
            sizes = [file.size_bytes for file in listed.files if PurePosixPath(file.path).is_relative_to(inside)]
            if not sizes or path == PurePosixPath():
                return False
            self._sizes[text] = sum(sizes)
        return True
