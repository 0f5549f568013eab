"""Stores the certificates of answers, and reads them for their owner and for what the owner shares."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from codeact.errors import NotFound
from codeact.events.certificates import Certificate
from codeact.store.database.operation import Operations, operation
from codeact.store.missing import no_response
from codeact.store.repositories.stored_bytes import DOCUMENT_BYTES, StoredBytes

if TYPE_CHECKING:
    from codeact.store.documents.documents import Documents

__all__ = ["Certificates"]


class Certificates:
    """The part of `Store` with certificates. The guarantees of `Store` hold here too."""

    def __init__(self, documents: "Documents", operations: Operations, stored: StoredBytes) -> None:
        self._documents = documents
        self._operations = operations
        self._stored = stored

    @operation
    async def put(self, certificate: Certificate, *, conversation_id: str, owner: str) -> None:
        """Stores the certificate in place of an earlier one of the same response.

        Raises `NotFound` if the response was deleted meanwhile.
        """
        text = msgspec.json.encode(certificate).decode()
        document = self._documents.certificates(
            id=certificate.response_id,
            owner=owner,
            conversation_id=conversation_id,
            created_at=datetime.now(UTC),
            certificate=text,
        )
        before = await self._documents.certificates.find_one({"_id": certificate.response_id, "owner": owner})
        await document.save()
        # Looked up afterwards: either this sees that the response was deleted, or its deletion sees the certificate.
        answer = {"_id": certificate.response_id, "owner": owner, "deleted": {"$ne": True}}
        if await self._documents.responses.get_pymongo_collection().find_one(answer, {"_id": 1}) is None:
            await document.delete()
            raise no_response(certificate.response_id)
        size_bytes = DOCUMENT_BYTES + len(text)
        if before is not None:
            size_bytes = len(text) - len(before.certificate)
        await self._stored.add_within(owner, size_bytes)

    @operation
    async def get(self, response_id: str, *, owner: str) -> Certificate:
        """Raises `NotFound`."""
        found = await self._documents.certificates.find_one({"_id": response_id, "owner": owner})
        if found is None:
            raise NotFound(f"There is no certificate of the response '{response_id}'.", param="response_id")
        return found.record()

    @operation
    async def of_conversation(self, conversation_id: str, *, owner: str) -> dict[str, Certificate]:
        """The certificates of a conversation's answers, by the ids of the responses."""
        found = self._documents.certificates.find({"conversation_id": conversation_id, "owner": owner})
        return {document.id: document.record() async for document in found}
