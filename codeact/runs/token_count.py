"""Counts the tokens of a request's first prompt, without answering the request."""

import time

from codeact import events as e
from codeact.agent.options import AgentOptions
from codeact.agent.prompting import Prompting
from codeact.agent.response_builder import ResponseBuilder
from codeact.runs.media import inline_media
from codeact.runs.model_parameters import for_model
from codeact.runs.new_run import NewRun
from codeact.runs.preparation import Preparation
from codeact.runs.question import RunComponents
from codeact.runs.tool_choice import searches
from codeact.tools.client_search import loaded_functions, with_loaded
from codeact.tools.toolbox import Toolbox, functions_of

__all__ = ["input_tokens"]


async def input_tokens(components: RunComponents, new_run: NewRun) -> int:
    """Returns the tokens of the instructions, the conversation and the request's input. `new_run.store` is False.

    The number is exact if the model's server offers its tokenizer, otherwise an estimate. Nothing is stored or started.
    Raises the same errors as `RunService.create` for an invalid request.
    """
    settings, choice = components.settings, new_run.choice
    store = await components.store.get()
    model = (await components.models.get()).get(new_run.model)
    new_run = for_model(new_run, model, drop=settings.drop_params)
    preparation = Preparation(store, new_run, None)
    resume_point = await preparation.read()
    messages = await preparation.messages(resume_point)
    conversation = [*await resume_point.history(store), *messages]
    functions = functions_of(list(choice.tools))
    toolbox = Toolbox([*functions, *components.mcp.functions]) if functions else components.mcp.toolbox
    if searches(choice.tools):
        toolbox = with_loaded(toolbox, loaded_functions([*conversation, *new_run.messages]))
    options = AgentOptions(
        instructions=new_run.model_instructions,
        must_act=choice.must_act,
        must_call=choice.must_call,
        sampling=new_run.sampling,
        environment=components.environment(),
        toolbox=toolbox,
        dialect=new_run.dialect or settings.options_of(model.name).dialect,
        preferred_dialect=settings.preferred_dialect,
        shows_images=settings.model_images,
        answer_format=new_run.answer_format,
        window_tokens=settings.options_of(model.name).window_tokens,
    )
    response = e.Response(id="", created_at=int(time.time()), model=model.name)
    builder = ResponseBuilder(response, _ignore, started=time.monotonic())
    context = await inline_media(conversation, get=preparation.get_blob)
    prompting = Prompting(builder, context, model, options)
    estimate = await prompting.tokens(room_tokens=1)
    return await prompting.tokens(room_tokens=estimate)  # With the estimate as limit, it asks the tokenizer.


async def _ignore(event: e.Event) -> None:
    """Drops the event: nobody reads the events of a count."""
