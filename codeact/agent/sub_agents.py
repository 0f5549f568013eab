"""`agent`: a function with which the code of an answer gives a part of its task to a sub-agent with its own sandbox.

The sub-agent's work is shown and stored as steps of the call. Its model calls count against the answer's budget, and it
is stopped with the answer.
"""

import json
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

from codeact import events as e
from codeact.agent.call_items import report_step
from codeact.agent.loop import Stop, answer
from codeact.agent.model_budget import MeteredModel, ModelBudget
from codeact.agent.options import AgentOptions
from codeact.ids import new_id
from codeact.model import Model
from codeact.tools.function import Function, FunctionError
from codeact.tools.host_functions import Tool, host_functions
from codeact.tools.values import encoded
from codeact.workspaces.workspace import Workspace
from sandbox_pool.sandbox.sandbox import Sandbox

__all__ = ["OpenWorkspace", "sub_agent_function"]

MAX_TURNS = 10
STEP_CHARS = 12_000
OUTPUT_BYTES = 10_000_000
"""Limit for the output of a sub-agent's code, which stays in memory until the sub-agent has answered."""

OpenWorkspace = Callable[[], AbstractAsyncContextManager[Workspace]]
"""Opens a workspace for one sub-agent, whose sandbox is released at the end."""

INSTRUCTIONS = """You work on one part of a larger task, for a program that reads your answer. Nobody can be asked back.
Answer with the result alone, without telling how you got it."""


def sub_agent_function(
    model: Model, budget: ModelBudget, open_workspace: OpenWorkspace, options: Callable[[], AgentOptions]
) -> Function:
    """Creates `agent` for the code of one answer. `options` returns a sub-agent's options, without `agent` itself."""
    sub_agents = _SubAgents(MeteredModel(model, budget), open_workspace, options)
    return replace(host_functions([Tool(sub_agents.agent, "agent")])[0], is_own=True)


class _SubAgents:
    def __init__(self, model: Model, open_workspace: OpenWorkspace, options: Callable[[], AgentOptions]) -> None:
        self._model, self._open_workspace, self._options = model, open_workspace, options

    async def agent(self, task: str, **data: Any) -> str:
        """Gives a task to an agent with a Python sandbox of its own, and returns its answer as text.

        It knows the task and the data alone: each value of `data` is a variable there. It cannot ask back.
        """
        options = self._options()
        facts = "".join(f"\nThe variable {name} is set: {_kind(value)}." for name, value in data.items())
        options = replace(options, instructions=f"{INSTRUCTIONS}{facts}", max_turns=min(MAX_TURNS, options.max_turns))
        response = e.Response(id=new_id("resp"), created_at=int(time.time()), model=self._model.name, store=False)
        question = e.InputMessage(id=new_id("msg"), role="user", content=[{"type": "input_text", "text": task}])
        async with self._open_workspace() as workspace:
            if data:
                await _set(await workspace.sandbox(), data)
            await answer(
                response,
                [question],
                model=self._model,
                workspace=workspace,
                options=replace(options, room_bytes=lambda: OUTPUT_BYTES),
                emit=_reporting(),
                stop=Stop(),
            )
        if response.error is not None:
            raise FunctionError(f"agent(): {response.error.message}")
        return _answer_of(response)


def _answer_of(response: e.Response) -> str:
    """Returns the text of the messages after the last block of code."""
    last = max((n for n, item in enumerate(response.output) if isinstance(item, e.CodeInterpreterCall)), default=-1)
    messages = [item for item in response.output[last + 1 :] if isinstance(item, e.Message)]
    return "".join(part.text for message in messages for part in message.content).strip()


def _kind(value: Any) -> str:
    size = f" of {len(value):,}" if hasattr(value, "__len__") else ""
    return f"a {type(value).__name__}{size}"


async def _set(sandbox: Sandbox, data: dict[str, Any]) -> None:
    """Sets the values as variables in the kernel."""
    text = json.dumps(encoded(data))
    await sandbox.define(
        "import json, sys\n"
        "values = json.loads("
        f"{text!r}, object_hook=sys.modules['codeact_calls']._decoded)\n"
        "get_ipython().user_ns.update(values)\n"
    )


def _reporting() -> Callable[[e.Event], Awaitable[None]]:
    """Returns a function that reports a sub-agent's finished messages and code as steps of the current call."""
    report = report_step()

    async def emit(event: e.Event) -> None:
        if not isinstance(event, e.OutputItemDone):
            return
        if isinstance(event.item, e.CodeInterpreterCall):
            call = event.item
            await report(e.CallStep(text=(call.observation or "")[:STEP_CHARS], code=call.code[:STEP_CHARS]))
        elif isinstance(event.item, e.Message):
            text = "".join(part.text for part in event.item.content)
            await report(e.CallStep(text=text[:STEP_CHARS]))

    return emit
