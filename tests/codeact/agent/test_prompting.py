"""A prompt that has not changed is rendered once; what changes in it is rendered."""

import pytest

from codeact import events as e
from codeact.agent.options import AgentOptions
from codeact.agent.prompting import Prompting
from codeact.agent.response_builder import ResponseBuilder
from codeact.models.scripted import ScriptedModel
from tests.codeact.store.conversations import message, user

pytestmark = pytest.mark.anyio


async def test_a_prompt_that_has_not_changed_is_rendered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def emit(event: e.Event) -> None: ...

    builder = ResponseBuilder(e.Response(id="resp_1", created_at=1, model="scripted"), emit, started=0.0)
    options = AgentOptions(window_tokens=16_384, truncate=True)
    conversation = [item for number in range(40) for item in (user(f"question {number}"), message(f"answer {number}"))]
    prompting = Prompting(builder, [*conversation, user("and now?")], ScriptedModel([]), options)
    rendered: list[int] = []
    render = prompting.dialect.messages

    def counted(items, **more):  # type: ignore[no-untyped-def]
        rendered.append(len(items))
        return render(items, **more)

    monkeypatch.setattr(prompting.dialect, "messages", counted)
    tokens = await prompting.tokens(room_tokens=15_000)
    assert await prompting.mask(room_tokens=15_000) == tokens
    first = await prompting.messages()
    assert sum(rendered) == 81
    assert first[-1].content == "and now?"

    prompting.say("Answer in French.")
    noted = await prompting.messages()
    assert "Answer in French." in str(noted[-1].content)
    builder.response.output.append(message("Oui."))
    answered = await prompting.messages()
    assert answered[-1].content == "Oui."
    builder.response.output[-1] = message("Non.")
    assert (await prompting.messages())[-1].content == "Non."
