"""Gives the code of a run the functions by which it asks models itself, where settings and request allow it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from codeact.agent.model_budget import ModelBudget, ModelLimits
from codeact.agent.model_calls import ask_functions
from codeact.agent.options import AgentOptions
from codeact.agent.sub_agents import sub_agent_function
from codeact.environment import Environment
from codeact.errors import InvalidRequest
from codeact.ids import new_id
from codeact.model import Model
from codeact.runs.new_run import NewRun
from codeact.settings import Settings
from codeact.tools.function import Function
from codeact.tools.toolbox import Toolbox
from codeact.workspaces.registry import Workspaces
from codeact.workspaces.workspace import Workspace

__all__ = ["CodeModels"]

SUB_AGENT = "sub_agent"
"""What the ids of workspaces start with that belong to a sub-agent."""


class CodeModels:
    """`budget` is None, and `functions` are none, where the code of this run asks no models.

    Raises `InvalidRequest` for a request that wants what the settings forbid.
    """

    def __init__(
        self,
        new_run: NewRun,
        model: Model,
        *,
        settings: Settings,
        workspaces: Workspaces,
        environment: Callable[[], Environment],
    ) -> None:
        self.budget: ModelBudget | None = None
        self.functions: list[Function] = []
        if new_run.model_calls and settings.model_calls == "never":
            raise InvalidRequest("Code asks no models here: CODEACT_MODEL_CALLS is never.", param="codeact:model_calls")
        if settings.model_calls == "never" or not (new_run.model_calls or settings.model_calls == "always"):
            return
        limits = ModelLimits(settings.model_calls_number, settings.model_calls_tokens, settings.model_calls_usd)
        self.budget = ModelBudget(limits)
        asking = ask_functions(model, self.budget, new_run.sampling)
        asking_only = Toolbox(asking)

        def options() -> AgentOptions:
            return AgentOptions(
                max_turns=settings.max_turns,
                truncate=True,
                observation_chars=settings.observation_chars,
                call_output_tokens=settings.model_max_output_tokens,
                sampling=new_run.sampling,
                environment=environment(),
                toolbox=asking_only,
                call_timeout_s=settings.call_timeout_s,
                dialect=new_run.dialect or settings.options_of(model.name).dialect,
                preferred_dialect=settings.preferred_dialect,
                shows_images=settings.model_images,
                window_tokens=settings.options_of(model.name).window_tokens,
            )

        @asynccontextmanager
        async def open_workspace() -> AsyncIterator[Workspace]:
            workspace_id = new_id(SUB_AGENT)
            try:
                with workspaces.use(workspace_id, owner=new_run.owner) as workspace:
                    yield workspace
            finally:
                await workspaces.release(workspace_id, "its sub-agent has answered")

        self.functions = [*asking, sub_agent_function(model, self.budget, open_workspace, options)]
