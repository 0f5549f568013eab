"""Finds what an answer's code was given besides its functions: the files that the user sent, chose or uploaded."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from codeact import events as e
from codeact.errors import InvalidRequest, NotFound
from codeact.ids import made_at_ms
from codeact.runs.container_files import container_files
from codeact.runs.media import content_of, input_files
from codeact.store import ContainerFile, Store, StoredResponse
from codeact.store.whole_text import GetBlob
from codeact.verification.errors import NotVerifiable
from codeact.verification.plan import Block
from codeact.workspaces.workspace import StagedFile
from sandbox_pool.sandbox.sandbox import Sandbox

__all__ = ["Given", "PlaceFiles", "names_skills"]

PlaceFiles = Callable[[Sequence[StagedFile]], Awaitable[None]]
"""Writes files into the sandbox, each once."""


class Given:
    """The files of one kernel of the thread. Each is written before the block that could read it first."""

    def __init__(self, thread: Sequence[StoredResponse], store: Store, *, owner: str, get_blob: GetBlob) -> None:
        self._thread = thread
        self._store = store
        self._owner = owner
        self._get_blob = get_blob
        self._after = 0
        self._response: e.Response | None = None
        self._uploaded: dict[str, list[ContainerFile]] = {}

    async def place(self, block: Block, place_files: PlaceFiles, sandbox: Sandbox) -> None:
        """Writes what was there when the block began. Raises `NotVerifiable` (`file_deleted`) and `SandboxError`."""
        try:
            await place_files(await self._of_messages(block))
            await self._place_uploaded(block, sandbox)
        except (NotFound, InvalidRequest) as error:
            if isinstance(error, NotVerifiable):
                raise
            raise NotVerifiable(
                f"A file that the user gave to this conversation is no longer there: {error.message}",
                code="file_deleted",
            ) from None

    async def _of_messages(self, block: Block) -> list[StagedFile]:
        """The files of the block's response and of those before it that no earlier call has returned."""
        if block.response is self._response:
            return []
        self._response = block.response
        messages: list[e.Input | e.Item] = []
        while self._after < len(self._thread):
            stored = self._thread[self._after]
            self._after += 1
            messages += stored.input
            if stored.response is block.response:
                break
        ids = _chosen(block.response.tools)
        chosen = await container_files(ids, self._store, owner=self._owner, get=self._get_blob) if ids else []
        return [*chosen, *input_files(messages, get=self._get_blob)]

    async def _place_uploaded(self, block: Block, sandbox: Sandbox) -> None:
        if block.container_id not in self._uploaded:
            listed = await self._store.files.uploaded(block.container_id, owner=self._owner)
            self._uploaded[block.container_id] = listed
        waiting, began_ms = self._uploaded[block.container_id], made_at_ms(block.item_id) or 0
        while waiting and (made_at_ms(waiting[0].id) or 0) <= began_ms:
            file = waiting.pop(0)
            if file.sha256 is None:
                raise NotVerifiable(
                    f"The file '{file.path}' was too large to be kept, and its sandbox is gone.", code="file_deleted"
                )
            await sandbox.write_file(file.path, await content_of(file.sha256, partial(self._get_blob)))


def _chosen(tools: Sequence[Any]) -> list[str]:
    """The ids of the files that a request put into its container."""
    containers = [tool.get("container") for tool in tools if isinstance(tool, dict)]
    lists = [container.get("file_ids") for container in containers if isinstance(container, dict)]
    return [each for found in lists if isinstance(found, list) for each in found if isinstance(each, str)]


def names_skills(tools: Sequence[Any]) -> bool:
    """Whether the request gave skills to its sandbox."""
    places = [tool.get(name) for tool in tools if isinstance(tool, dict) for name in ("container", "environment")]
    return any(isinstance(place, dict) and bool(place.get("skills")) for place in places)
