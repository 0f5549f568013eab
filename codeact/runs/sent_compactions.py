"""Compactions that clients send back, and the item by which they ask for one."""

import msgspec

from codeact.errors import InvalidRequest

__all__ = ["CompactionItem", "CompactionTrigger", "SealedCompaction"]


class CompactionItem(msgspec.Struct, tag="compaction"):
    """A compaction of an earlier answer, or of `/v1/responses/compact`, sent back in place of what it stands for."""

    encrypted_content: str
    id: str | None = None


class CompactionTrigger(msgspec.Struct, tag="compaction_trigger"):
    """Asks for a compaction instead of an answer. It comes last in the input of a response."""

    @staticmethod
    def misplaced(param: str) -> InvalidRequest:
        return InvalidRequest("A 'compaction_trigger' is the last item in the input of a response.", param=param)


class SealedCompaction(msgspec.Struct):
    """A compaction that only this server can read, if it wrote it. `param` is where the request has it."""

    sealed: str
    param: str = "input"
