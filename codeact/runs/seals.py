"""What encrypts parts of one run's answer, for a client that holds the conversation itself."""

from typing import Any

from codeact.runs.new_run import NewRun
from codeact.runs.sealed_compaction import compaction_seal
from codeact.runs.sealed_reasoning import sealing
from codeact.store.run_store import RunStore

__all__ = ["seals_for"]


async def seals_for(new_run: NewRun, store: RunStore, *, conversation_id: str | None) -> dict[str, Any]:
    """The fields of `AgentOptions` that encrypt; `conversation_id` is None where the conversation is not stored.

    Asks the database once in a process, and only where something may have to be encrypted.
    """
    seals: dict[str, Any] = {}
    if new_run.encrypted_reasoning:
        seals["seal_reasoning"] = await sealing(store, owner=new_run.owner)
    if new_run.may_compact:
        seal = await compaction_seal(store, owner=new_run.owner, conversation_id=conversation_id)
        seals["seal_compaction"] = seal
    return seals
