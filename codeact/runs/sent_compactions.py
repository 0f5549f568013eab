"""Items by which clients send a compaction back or ask for one."""

import msgspec

from codeact.errors import InvalidRequest

__all__ = ["CompactionItem", "CompactionTrigger", "SealedCompaction"]


class CompactionItem(msgspec.Struct, tag="compaction"):
    """A compaction of an earlier answer or of `/v1/responses/compact`, which a client sends instead of older items."""

    encrypted_content: str
    id: str | None = None


class CompactionTrigger(msgspec.Struct, tag="compaction_trigger"):
    """Asks for a compaction instead of an answer. It must be the last item of the input."""

    @staticmethod
    def misplaced(param: str) -> InvalidRequest:
        return InvalidRequest("A 'compaction_trigger' is the last item in the input of a response.", param=param)


class SealedCompaction(msgspec.Struct):
    """An encrypted compaction. Only the server that encrypted it can read it. `param` is its place in the request."""

    sealed: str
    param: str = "input"
