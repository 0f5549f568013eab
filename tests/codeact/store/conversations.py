"""Builds items and stores conversations for the tests of the store."""

import time
from typing import Any

from codeact import events as e
from codeact.ids import new_id
from codeact.store import Store
from sandbox_pool import outputs as o

__all__ = ["add_answer", "code", "image", "message", "user"]


def user(text: str) -> e.InputMessage:
    return e.InputMessage(id=new_id("msg"), role="user", content=[{"type": "input_text", "text": text}])


def message(text: str) -> e.Message:
    return e.Message(id=new_id("msg"), status="completed", content=[e.OutputText(text)])


def code(
    text: str, *outputs: o.Stream | o.DisplayData | o.ExecuteResult | o.Error, **fields: Any
) -> e.CodeInterpreterCall:
    error = next((output for output in outputs if isinstance(output, o.Error)), None)
    return e.CodeInterpreterCall(
        id=new_id("ci"),
        container_id="cntr_1",
        code=text,
        status="completed",
        notebook_outputs=list(outputs),
        result=o.ExecutionResult(status="error" if error else "ok", duration_s=0.25, error=error),
        observation="seen",
        **fields,
    )


def image(sha256: str) -> e.ImageOutput:
    return e.ImageOutput(f"blob:{sha256}")


async def add_answer(
    store: Store,
    conversation_id: str | None,
    question: str,
    *items: e.Item,
    owner: str = "ann",
    tokens: int = 10,
    cost_usd: float = 0.5,
    **fields: Any,
) -> e.Response:
    """Stores a completed response in this conversation, or in a new one if the id is None."""
    if conversation_id is None:
        conversation_id = (await store.create_conversation(owner=owner)).id
    values = {"status": "completed", "model": "demo"} | fields
    response = e.Response(
        id=new_id("resp"), created_at=time.time(), conversation=e.ConversationRef(conversation_id), **values
    )
    response.status = "in_progress"
    await store.begin_response(response, [user(question)], owner=owner)
    for index, item in enumerate(items):
        response.output.append(item)
        await store.add_item(response.id, index, item)
    response.status = values["status"]
    response.usage = e.ResponseUsage(total_tokens=tokens, cost_usd=cost_usd)
    response.ledger.total_s = 2.0
    await store.end_response(response)
    return response
