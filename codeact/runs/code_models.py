"""Creates the functions with which a run's code calls models itself, if settings and request allow it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from codeact.agent.approvals import ApprovalOptions
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
from codeact.workspaces.options import ContainerOptions
from codeact.workspaces.registry import Workspaces
from codeact.workspaces.workspace import Workspace

__all__ = ["CodeModels"]

SUB_AGENT = "sub_agent"
"""The prefix of the ids of sub-agents' workspaces."""


class CodeModels:
    """The functions for model calls by the code of one run, and their shared budget.

    If the code may call no models, `functions` is empty and `budget` None. Raises `InvalidRequest` if the request
    enables model calls and the settings forbid them. `approval` holds for the code of sub-agents, which cannot wait.
    `options` returns the options of the conversation's sandbox. A sub-agent's sandbox gets them, too: else code
    without a network could ask a sub-agent that has one.
    """

    def __init__(
        self,
        new_run: NewRun,
        model: Model,
        *,
        settings: Settings,
        workspaces: Workspaces,
        environment: Callable[[ContainerOptions], Environment],
        approval: ApprovalOptions,
        options: Callable[[], ContainerOptions],
    ) -> None:
        self.budget: ModelBudget | None = None
        self.functions: list[Function] = []
        if new_run.model_calls and settings.model_calls == "never":
            raise InvalidRequest("Code asks no models here: CODEACT_MODEL_CALLS is never.", param="codeact:model_calls")
        if settings.model_calls == "never" or not (new_run.model_calls or settings.model_calls == "always"):
            return
        limits = ModelLimits(settings.model_calls_number, settings.model_calls_tokens, settings.model_calls_usd)
        self.budget = ModelBudget(limits)
        call_functions = ask_functions(model, self.budget, new_run.sampling)
        sub_agent_toolbox = Toolbox(call_functions)

        def agent_options() -> AgentOptions:
            return AgentOptions(
                max_turns=settings.max_turns,
                truncate=True,
                observation_chars=settings.observation_chars,
                call_output_tokens=settings.model_max_output_tokens,
                sampling=replace(new_run.sampling, logprobs=None),
                environment=environment(options()),
                toolbox=sub_agent_toolbox,
                call_timeout_s=settings.call_timeout_s,
                dialect=new_run.dialect or settings.options_of(model.name).dialect,
                preferred_dialect=settings.preferred_dialect,
                shows_images=settings.model_images,
                window_tokens=settings.options_of(model.name).window_tokens,
                approval=approval,
            )

        @asynccontextmanager
        async def open_workspace() -> AsyncIterator[Workspace]:
            workspace_id = new_id(SUB_AGENT)
            try:
                with workspaces.use(workspace_id, owner=new_run.owner) as workspace:
                    workspace.want(options())
                    yield workspace
            finally:
                await workspaces.release(workspace_id, "its sub-agent has answered")

        self.functions = [*call_functions, sub_agent_function(model, self.budget, open_workspace, agent_options)]
