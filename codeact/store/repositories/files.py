"""Stores containers and their files, so that files outlive their sandbox."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from codeact.concurrency.slices import Slices
from codeact.errors import NotFound
from codeact.ids import new_id
from codeact.store.database.operation import Operations, operation
from codeact.store.database.process import has_died
from codeact.store.documents.schema import CONTAINER, FIELD
from codeact.store.missing import no_container
from codeact.store.records import Container, ContainerFile
from codeact.store.repositories.response_leases import LEASE_S

if TYPE_CHECKING:
    from codeact.store.documents.documents import Documents
    from codeact.store.documents.files import ContainerDocument

__all__ = ["ContainerFiles"]

BATCH = 200
"""How many files the driver decodes at a time."""


class ContainerFiles:
    """The part of `Store` with containers and files. `holder` is this server's name."""

    def __init__(
        self, documents: "Documents", operations: Operations, *, holder: str, lease_s: float = LEASE_S
    ) -> None:
        self._containers = documents.containers
        self._files = documents.files
        self._holder = holder
        self._lease_s = lease_s
        self._operations = operations

    # ---- containers ----------------------------------------------------------------------------------

    @operation
    async def touch(
        self,
        container_id: str,
        *,
        owner: str,
        conversation_id: str,
        name: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Container:
        """Notes that this server has just used the conversation's sandbox. The first call creates the container."""
        now = datetime.now(UTC)
        first = {"created_at": now, "owner": owner, "conversation_id": conversation_id, "name": name or "Conversation"}
        first |= {FIELD: CONTAINER.version, "options": dict(options or {})}
        used = {"last_active_at": now, "process": self._holder}
        change = {"$set": used, "$currentDate": {"held_at": True}, "$setOnInsert": first}
        await self._containers.get_pymongo_collection().update_one({"_id": container_id}, change, upsert=True)
        return await self._container(container_id, owner)

    @operation
    async def hold(self, container_ids: Collection[str], *, as_of: datetime | None = None) -> None:
        """Tells other servers that this one holds exactly these containers. Repeat it within the lease's time.

        With `as_of`, the time at which these were all, containers that were used later are left as they are.
        """
        collection = self._containers.get_pymongo_collection()
        owned = {"_id": {"$in": list(container_ids)}}
        await collection.update_many(owned, {"$set": {"process": self._holder}, "$currentDate": {"held_at": True}})
        gone: dict[str, Any] = {"process": self._holder, "_id": {"$nin": list(container_ids)}}
        gone |= {"last_active_at": {"$lt": as_of}} if as_of is not None else {}
        await collection.update_many(gone, {"$unset": {"process": "", "held_at": ""}})

    @operation
    async def get(self, container_id: str, *, owner: str) -> Container:
        return await self._container(container_id, owner)

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
        """One page of containers, newest first unless `order` is `asc`, beginning behind the container `after`.

        A container's id is as old as its sandbox, which may have waited in the pool, so its time decides. Behind a
        container that was deleted meanwhile, the page begins by that id.
        """
        place: dict[str, Any] = {"owner": owner, **({"name": name} if name is not None else {})}
        if after is not None:
            beyond = "$lt" if order == "desc" else "$gt"
            last = await self._containers.find_one({"_id": after, "owner": owner})
            if last is None:
                place["_id"] = {beyond: after}
            else:
                at = last.created_at
                place["$or"] = [{"created_at": {beyond: at}}, {"created_at": at, "_id": {beyond: after}}]
        direction = -1 if order == "desc" else 1
        sort = {"created_at": direction, "_id": direction}
        return await self._find([{"$match": place}, {"$sort": sort}, {"$limit": limit}])

    @operation
    async def delete(self, container_id: str, *, owner: str) -> None:
        """Deletes the container and marks its files as removed.

        Answers still cite them; their blobs go with the conversation.
        """
        await self._container(container_id, owner)
        await self._files.find({"container_id": container_id}).update({"$set": {"current": False}})
        await self._containers.find({"_id": container_id}).delete()

    @operation
    async def held(self, conversation_id: str, *, owner: str) -> list[Container]:
        """The conversation's containers that a living server holds, this one or another, latest use last."""
        place = {"conversation_id": conversation_id, "owner": owner, "process": {"$exists": True}}
        found = [each for each in await self._find([{"$match": place}]) if each.held_by or each.is_held_here]
        return sorted(found, key=lambda container: container.last_active_at)

    # ---- files ---------------------------------------------------------------------------------------

    @operation
    async def files(self, container_id: str, *, owner: str) -> list[ContainerFile]:
        """The current files, oldest first."""
        return await self._of({"container_id": container_id, "owner": owner, "current": True})

    @operation
    async def uploaded(self, container_id: str, *, owner: str) -> list[ContainerFile]:
        """All files that a user has put into the container, also removed and replaced ones, oldest first."""
        return await self._of({"container_id": container_id, "owner": owner, "source": "user"})

    @operation
    async def file(self, file_id: str, *, container_id: str | None = None, owner: str) -> ContainerFile:
        """Finds a file by id, also a version that has been replaced; `container_id` None: in any container.

        Raises `NotFound`.
        """
        place = {"_id": file_id, "owner": owner, **({"container_id": container_id} if container_id is not None else {})}
        document = await self._files.find_one(place)
        if document is None or document.has_expired:
            where = "" if container_id is None else " in this container"
            raise NotFound(f"There is no file '{file_id}'{where}.", param="file_id")
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
        """Stores a file, which replaces an earlier version. `sha256` None: only the sandbox has its content."""
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
        await document.insert()
        # If several versions are added at once, the one with the newest id stays current.
        place = {"container_id": container.id, "path": path, "current": True}
        latest = await self._files.get_pymongo_collection().find_one(place, {"_id": 1}, sort=[("_id", -1)])
        if latest is not None:
            await self._drop({**place, "_id": {"$lt": latest["_id"]}})
        return document.record()

    @operation
    async def drop(self, file_id: str, *, container_id: str) -> None:
        """Marks the file as removed."""
        await self._drop({"_id": file_id, "container_id": container_id})

    async def _of(self, place: dict[str, Any]) -> list[ContainerFile]:
        """The files, oldest first, in short steps: code writes as many as it may."""
        slices = Slices()
        files: list[ContainerFile] = []
        async for document in self._files.find(place, batch_size=BATCH).sort("_id"):
            files.append(document.record())
            await slices.pause()
        return files

    async def _drop(self, place: dict[str, Any]) -> None:
        await self._files.find({**place, "current": True}).update({"$set": {"current": False}})

    async def _container(self, container_id: str, owner: str) -> Container:
        found = await self._find([{"$match": {"_id": container_id, "owner": owner}}])
        if not found:
            raise no_container(container_id)
        return found[0]

    async def _find(self, stages: list[dict[str, Any]]) -> list[Container]:
        fresh = {"$gt": ["$held_at", {"$subtract": ["$$NOW", int(self._lease_s * 1000)]}]}
        process = {"$set": {"process": {"$cond": [fresh, "$process", None]}}}
        found = self._containers.aggregate([*stages, process], projection_model=self._containers)
        return [self._record(document) for document in await found.to_list()]

    def _record(self, document: "ContainerDocument") -> Container:
        process = document.process
        is_held_here = process == self._holder
        held_by = process if process and not is_held_here and not has_died(process) else None
        return document.record(held_by=held_by, is_held_here=is_held_here)
