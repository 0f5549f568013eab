"""Stores the key that encrypts what clients hold for the server. All servers of a database share it."""

import secrets
from typing import TYPE_CHECKING

from codeact.sealing import KEY_BYTES, Sealer
from codeact.store.database.operation import Operations, operation
from codeact.store.documents.schema import FIELD, SECRET

if TYPE_CHECKING:
    from codeact.store.documents.documents import Documents

__all__ = ["Sealing"]

KEY = "sealing"


class Sealing:
    """The part of `Store` with the encryption key. The guarantees of `Store` hold here too."""

    def __init__(self, documents: "Documents", operations: Operations) -> None:
        self._secrets = documents.secrets
        self._operations = operations
        self._sealer: Sealer | None = None

    async def sealer(self) -> Sealer:
        """The sealer with this database's key, which the first call ever creates. Reads the database only once."""
        if self._sealer is None:
            self._sealer = Sealer(await self._key())
        return self._sealer

    @operation
    async def _key(self) -> bytes:
        from pymongo import ReturnDocument
        from pymongo.errors import DuplicateKeyError

        collection = self._secrets.get_pymongo_collection()
        new = {"value": secrets.token_bytes(KEY_BYTES), FIELD: SECRET.version}
        try:
            found = await collection.find_one_and_update(
                {"_id": KEY}, {"$setOnInsert": new}, upsert=True, return_document=ReturnDocument.AFTER
            )
        except DuplicateKeyError:  # Another server has created it at the same moment.
            found = await collection.find_one({"_id": KEY})
        return bytes(self._secrets.model_validate(found).value)
