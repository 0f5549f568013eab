"""Containers and their files in the database: what is in a sandbox enters and is there when the sandbox is gone."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from codeact.errors import NotFound
from codeact.ids import new_id
from codeact.store.operation import operation
from codeact.store.records import Container, ContainerFile

if TYPE_CHECKING:
    from codeact.store.documents import Documents
    from codeact.store.file_documents import ContainerDocument

__all__ = ["ContainerFiles"]


class ContainerFiles:
    """Part of a `Store`, with its promises."""

    def __init__(self, documents: "Documents", uri: str) -> None:
        self._containers = documents.containers
        self._files = documents.files
        self._uri = uri

    # ---- containers ----------------------------------------------------------------------------------

    @operation
    async def touch(self, container_id: str, *, owner: str, conversation_id: str, name: str | None = None) -> Container:
        """Notes that the conversation's sandbox was used just now; the first call makes the container."""
        now = datetime.now(UTC)
        first = {"created_at": now, "owner": owner, "conversation_id": conversation_id, "name": name or "Conversation"}
        await self._containers.get_pymongo_collection().update_one(
            {"_id": container_id}, {"$set": {"last_active_at": now}, "$setOnInsert": first}, upsert=True
        )
        return (await self._container(container_id, owner)).record()

    @operation
    async def get(self, container_id: str, *, owner: str) -> Container:
        return (await self._container(container_id, owner)).record()

    @operation
    async def containers(
        self,
        *,
        owner: str,
        after: str | None,
        limit: int,
        order: Literal["asc", "desc"],
        name: str | None = None,
    ) -> list[Container]:
        """Newest first unless `order` is `asc`; what follows the container `after`."""
        place: dict[str, Any] = {"owner": owner, **({"name": name} if name is not None else {})}
        if after is not None:
            place["_id"] = {"$lt" if order == "desc" else "$gt": after}
        found = self._containers.find(place).sort("-_id" if order == "desc" else "+_id").limit(limit)
        return [document.record() for document in await found.to_list()]

    @operation
    async def delete(self, container_id: str, *, owner: str) -> None:
        """Forgets the container and its files; answers keep citing them, and the blobs go with the conversation."""
        await self._container(container_id, owner)
        await self._files.find({"container_id": container_id}).update({"$set": {"current": False}})
        await self._containers.find({"_id": container_id}).delete()

    # ---- files ---------------------------------------------------------------------------------------

    @operation
    async def files(self, container_id: str, *, owner: str) -> list[ContainerFile]:
        """The files that are there, oldest first."""
        found = self._files.find({"container_id": container_id, "owner": owner, "current": True}).sort("_id")
        return [document.record() for document in await found.to_list()]

    @operation
    async def file(self, file_id: str, *, container_id: str, owner: str) -> ContainerFile:
        """A file, also in a version that is not there any more."""
        document = await self._files.find_one({"_id": file_id, "container_id": container_id, "owner": owner})
        if document is None:
            raise NotFound(f"There is no file '{file_id}' in this container.", param="file_id")
        return document.record()

    @operation
    async def add(
        self,
        container: Container,
        path: str,
        *,
        size_bytes: int,
        modified_at: float,
        source: Literal["user", "assistant"],
        sha256: str | None,
    ) -> ContainerFile:
        """Notes a file, in place of an earlier version of it. `sha256` None: its content is in the sandbox alone."""
        document = self._files(
            id=new_id("cfile"),
            owner=container.owner,
            container_id=container.id,
            conversation_id=container.conversation_id,
            path=path,
            size_bytes=size_bytes,
            modified_at=modified_at,
            created_at=datetime.now(UTC),
            source=source,
            sha256=sha256,
        )
        await self._drop({"container_id": container.id, "path": path})
        await document.insert()
        return document.record()

    @operation
    async def drop(self, file_id: str, *, container_id: str) -> None:
        """Notes that the file is not there any more."""
        await self._drop({"_id": file_id, "container_id": container_id})

    async def _drop(self, place: dict[str, Any]) -> None:
        await self._files.find({**place, "current": True}).update({"$set": {"current": False}})

    async def _container(self, container_id: str, owner: str) -> "ContainerDocument":
        document = await self._containers.find_one({"_id": container_id, "owner": owner})
        if document is None:
            raise NotFound(f"There is no container '{container_id}'.", param="container_id")
        return document
