"""The functions that read models' output, with the inputs that `tests/test_growth.py` measures them with."""

from collections.abc import Callable
from typing import Any

import msgspec

from codeact import events as e
from codeact.agent.answer_format import checked
from codeact.agent.visible_tokens import VisibleTokens
from codeact.dialect.calls import CallsReader
from codeact.dialect.history import rendered
from codeact.dialect.images import size_px
from codeact.dialect.tags import TagsReader
from codeact.model import TextDelta, ToolCallDelta
from codeact.models.responses_api.fields import head_of
from codeact.models.responses_api.reading import ResponsesReading
from codeact.models.shared.logprobs import read_tokens
from codeact.models.shared.reasoning_fields import ReasoningFields
from tests.growth import BYTES, PIECES, TEXTS, Inputs, Reader, contents

__all__ = ["TABLE"]


def written(make: Callable[[], Any], event: Callable[[str], Any]) -> Reader:
    def run(pieces: list[str]) -> None:
        reader = make()
        for piece in pieces:
            reader.feed(event(piece))
        reader.finish(stopped=False)

    return run


def calls(*, custom: bool) -> Callable[[], CallsReader]:
    return lambda: CallsReader(thinks=lambda: False, custom=custom)


def piece_of_call(piece: str) -> ToolCallDelta:
    return ToolCallDelta(0, piece, "python", "call_1")


def called(pieces: list[str]) -> None:
    """Reads the input of a `custom` tool, and the same input as JSON."""
    written(calls(custom=True), piece_of_call)(pieces)
    quoted = [msgspec.json.encode(piece).decode()[1:-1] for piece in pieces]
    written(calls(custom=False), piece_of_call)(['{"code":"', *quoted, '"}'])
    reader = calls(custom=False)()
    for piece in ('{"code":"', *quoted, '"}'):
        reader.feed(piece_of_call(piece))
    assert reader.is_valid("call_1")


def kept(pieces: list[str]) -> None:
    fields = ReasoningFields()
    for number, piece in enumerate(pieces):
        fields.add("reasoning_details", [{"type": "reasoning.text", "index": 0, "text": piece}])
        fields.add("thinking_blocks", [{"type": "thinking", "thinking": piece, "signature": str(number)}])
    fields.take()


def tokens(pieces: list[str]) -> None:
    """Reads tokens that come before their text, and tokens of which the text has none."""
    visible = VisibleTokens()
    for at, piece in enumerate(pieces):
        sent = [{"token": piece, "logprob": -1.0, "top_logprobs": [{"token": piece, "logprob": -1.0}] * 3}]
        visible.add(read_tokens([*sent, {"token": f"no {piece}", "logprob": -2.0}], 20))
        visible.text(piece)
        visible.prose([(7 * at, piece)])
        visible.of(piece)


def response(pieces: list[str]) -> None:
    """Reads prose, thoughts and a call of the Responses API, whose last event repeats all items."""
    reading = ResponsesReading()
    events: list[dict[str, Any]] = []
    for kind in ("output_text", "reasoning_summary_text", "function_call_arguments"):
        place = {"type": f"response.{kind}.delta", "output_index": len(kind), "summary_index": 0}
        events += ({**place, "delta": piece} for piece in pieces)
    output = [{"type": "message", "content": [{"text": piece} for piece in pieces]}]
    events.append({"type": "response.completed", "response": {"output": output}})
    for event in events:
        reading.event(msgspec.json.encode(event))


def retold(given: list[str]) -> None:
    """Renders a history of thoughts and prose that the same model wrote."""
    items: list[e.Input | e.Item] = []
    for number, text in enumerate(given):
        back = {"reasoning_details": [{"text": text}]} if number % 2 else {}
        thought = e.Reasoning(id=f"rs_{number}", content=[e.ReasoningTextPart(text)])
        thought.kept = e.KeptReasoning(model="m", data=back)
        items += [thought, e.Message(id=f"msg_{number}", content=[e.OutputText(text)])]
    rendered(items, system="s", model="m")


TABLE: dict[str, tuple[Reader, Inputs]] = {
    "codeact.dialect.tags.TagsReader": (
        written(lambda: TagsReader(fences=True, thinks=lambda: True), TextDelta),
        PIECES,
    ),
    "codeact.dialect.calls.CallsReader": (called, PIECES),
    "codeact.dialect.turns.Turns": (retold, {"thoughts": lambda n: ["x" * 20] * n}),
    "codeact.dialect.images.size_px": (
        lambda text: (size_px(f"data:image/jpeg;base64,{text}"), size_px(text)),
        {**TEXTS, "segments": lambda n: "/9j/" + "/wAA" * n},
    ),
    "codeact.agent.answer_format.checked": (lambda text: checked(text, e.JsonObjectFormat()), TEXTS),
    "codeact.models.responses_api.fields.head_of": (
        head_of,
        {**BYTES, **contents('{"type":"response.created","response":{"id":', "}}")},
    ),
    "codeact.models.responses_api.reading.ResponsesReading": (response, PIECES),
    "codeact.agent.visible_tokens.VisibleTokens": (tokens, PIECES),
    "codeact.models.shared.reasoning_fields.ReasoningFields": (kept, PIECES),
}
