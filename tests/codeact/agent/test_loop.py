"""The beginning of an answer, as its readers see it."""

from typing import Any, NoReturn

import anyio
import pytest

from codeact import events as e
from codeact.agent.loop import AgentOptions, Context, Stop, answer
from codeact.errors import ModelError
from codeact.models.scripted import ScriptedModel
from codeact.workspaces.workspace import Workspace

pytestmark = pytest.mark.anyio


async def no_pool() -> NoReturn:
    raise AssertionError("no code runs")


async def test_readers_have_response_created_before_anything_is_loaded_for_the_model() -> None:
    happened: list[str] = []
    created = anyio.Event()

    async def emit(event: Any) -> None:
        if isinstance(event, e.ResponseCreated):
            created.set()

    async def read() -> None:
        await created.wait()
        happened.append("read")

    async def load() -> tuple[Context, AgentOptions]:
        happened.append("loaded")
        raise ModelError("This is all.")

    response = e.Response(id="resp_1", created_at=0, model="m")
    workspace = Workspace(no_pool, owner="local")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        model, options = ScriptedModel([]), AgentOptions()
        await answer(response, (), model=model, workspace=workspace, options=options, emit=emit, stop=Stop(), load=load)
    assert happened == ["read", "loaded"]
    assert response.status == "failed"
