"""Functions that encrypt parts of a run's answer, for a client that stores the conversation itself."""

from typing import Any

from codeact.runs.new_run import NewRun
from codeact.runs.sealed_compaction import compaction_seal
from codeact.runs.sealed_reasoning import sealing
from codeact.store.run_store import RunStore

__all__ = ["seals_for"]


async def seals_for(new_run: NewRun, store: RunStore, *, conversation_id: str | None) -> dict[str, Any]:
    """Returns the fields of `AgentOptions` that encrypt. `conversation_id` is None if the conversation is not stored.

    It reads the key from the database once per process, and only if something may have to be encrypted.
    """
    seals: dict[str, Any] = {}
    if new_run.encrypted_reasoning:
        seals["seal_reasoning"] = await sealing(store, owner=new_run.owner)
    if new_run.may_compact:
        seal = await compaction_seal(store, owner=new_run.owner, conversation_id=conversation_id)
        seals["seal_compaction"] = seal
    return seals
