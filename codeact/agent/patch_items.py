"""Emits the items of patches that code applies to the files of its sandbox. The kernel says which, and how it went."""

from collections.abc import Awaitable, Callable
from typing import Any

from codeact import events as e
from codeact.ids import new_id
from codeact.tools.function import FunctionError

__all__ = ["PatchItems"]

MOST_CHARS = 500_000
"""The limit for one diff. A file's path has 4,096 characters at most."""
MOST_PATCHES = 1_000


class PatchItems:
    """The patches of one response, of which at most one is open. `add` adds an item and returns its index."""

    def __init__(self, emit: Callable[[e.Event], Awaitable[None]], add: Callable[[e.Item], Awaitable[int]]) -> None:
        self._emit = emit
        self._add = add
        self._call_id: str | None = None
        self._number = 0

    async def take(self, arguments: dict[str, Any]) -> None:
        """Handles what the kernel says: a patch begins, or has ended. Raises `FunctionError`."""
        match arguments:
            case {"operation": {"type": str() as kind, "path": str() as path, **rest}} if self._call_id is None:
                await self._begin(kind, path, rest.get("diff"))
            case {"status": "completed" | "failed" as status, "output": str() as output} if self._call_id is not None:
                await self._end(status, output[:MOST_CHARS])
            case _:
                raise FunctionError("apply_patch() takes an operation with a type, a path and a diff.")

    async def close(self) -> None:
        """Closes the open patch as failed, because its code has ended."""
        if self._call_id is not None:
            await self._end("failed", "The code ended before the patch was applied.")

    async def _begin(self, kind: str, path: str, diff: Any) -> None:
        known: dict[str, type[e.CreateFile | e.UpdateFile]] = {
            "create_file": e.CreateFile,
            "update_file": e.UpdateFile,
        }
        if not 1 <= len(path) <= 4_096 or (kind in known and not (isinstance(diff, str) and len(diff) <= MOST_CHARS)):
            raise FunctionError(f"apply_patch() takes a path and a diff of {MOST_CHARS:,} characters at most.")
        if kind not in known and kind != "delete_file":
            raise FunctionError("An operation of apply_patch() is create_file, update_file or delete_file.")
        if self._number >= MOST_PATCHES:
            raise FunctionError(f"apply_patch() changes at most {MOST_PATCHES:,} files for one answer.")
        self._number += 1
        operation: e.CreateFile | e.UpdateFile | e.DeleteFile
        operation = known[kind](path, diff) if kind in known else e.DeleteFile(path)
        self._call_id = new_id("call")
        await self._whole(e.ApplyPatchCall(id=new_id("apc"), call_id=self._call_id, operation=operation))

    async def _end(self, status: Any, output: str) -> None:
        call_id, self._call_id = self._call_id or "", None
        await self._whole(e.ApplyPatchCallOutput(id=new_id("apco"), call_id=call_id, status=status, output=output))

    async def _whole(self, item: e.Item) -> None:
        await self._emit(e.OutputItemDone(output_index=await self._add(item), item=item))
