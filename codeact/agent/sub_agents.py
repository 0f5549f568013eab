"""`agent`: a function by which the code of an answer gives a part of its task to an agent with a sandbox of its own.

What the sub-agent does shows as steps of the call, live and stored; its model calls count against the answer's budget,
and whatever stops the answer stops it too.
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
"""Of what a sub-agent's blocks show: it is held until it has answered, and not stored."""

OpenWorkspace = Callable[[], AbstractAsyncContextManager[Workspace]]
"""A workspace for one sub-agent; its sandbox is released at the end."""

INSTRUCTIONS = """You work on one part of a larger task, for a program that reads your answer. Nobody can be asked back.
Answer with the result alone, without telling how you got it."""


def sub_agent_function(
    model: Model, budget: ModelBudget, open_workspace: OpenWorkspace, options: Callable[[], AgentOptions]
) -> Function:
    """`agent` for the code of one answer. `options` are those of a sub-agent, whose toolbox has no `agent` again."""
    sub_agents = _SubAgents(MeteredModel(model, budget), open_workspace, options)
    return host_functions([Tool(sub_agents.agent, "agent")])[0]


class _SubAgents:
    def __init__(self, model: Model, open_workspace: OpenWorkspace, options: Callable[[], AgentOptions]) -> None:
        self._model, self._open_workspace, self._options = model, open_workspace, options

    async def agent(self, task: str, **data: Any) -> str:
        """Gives a task to an agent with a Python sandbox of its own, and returns its answer as text.

        It knows the task and the data alone: each value of `data` is a variable there. It cannot ask back.
        """
        options = self._options()
        told = "".join(f"\nThe variable {name} is set: {_kind(value)}." for name, value in data.items())
        options = replace(options, instructions=f"{INSTRUCTIONS}{told}", max_turns=min(MAX_TURNS, options.max_turns))
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
    """What it has said once it ran no more code."""
    last = max((n for n, item in enumerate(response.output) if isinstance(item, e.CodeInterpreterCall)), default=-1)
    messages = [item for item in response.output[last + 1 :] if isinstance(item, e.Message)]
    return "".join(part.text for message in messages for part in message.content).strip()


def _kind(value: Any) -> str:
    size = f" of {len(value):,}" if hasattr(value, "__len__") else ""
    return f"a {type(value).__name__}{size}"


async def _set(sandbox: Sandbox, data: dict[str, Any]) -> None:
    """Makes the values variables of the kernel."""
    text = json.dumps(encoded(data))
    await sandbox.define(
        "import json, sys\n"
        "values = json.loads("
        f"{text!r}, object_hook=sys.modules['codeact_calls']._decoded)\n"
        "get_ipython().user_ns.update(values)\n"
    )


def _reporting() -> Callable[[e.Event], Awaitable[None]]:
    """Reports what a sub-agent has said and run as steps of the call that began it."""
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
