"""The body of a create request: untrusted JSON enters, a checked `CreateRequest` leaves or an error by name."""

from typing import Any, Literal

import msgspec

from codeact.errors import InvalidRequest, ModelNotFound
from codeact.events import InputMessage
from codeact.ids import new_id

__all__ = ["CreateRequest", "parse_create"]

UNSUPPORTED = {
    "background": (None, False),
    "include": (None, [], ["code_interpreter_call.outputs"]),
    "prompt": (None,),
    "reasoning": (None,),
    "store": (None, True),
    "text": (None, {}, {"format": {"type": "text"}}),
    "top_logprobs": (None, 0),
    "truncation": (None, "disabled"),
    "tool_choice": (None, "auto"),
}
"""Parameters of the standard that we know but do not act on, with the values that ask for nothing more."""

IGNORED = frozenset(
    {"parallel_tool_calls", "prompt_cache_key", "safety_identifier", "service_tier", "stream_options", "user"}
)
"""Hints of the standard that may be passed over without changing the answer."""


class _Conversation(msgspec.Struct):
    id: str


class _Body(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What `response.create` and `POST /v1/responses` take."""

    input: str | list[dict[str, Any]] = ""
    model: str | None = None
    instructions: str | None = None
    conversation: str | _Conversation | None = None
    previous_response_id: str | None = None
    stream: bool | None = None
    stream_id: str | None = None
    metadata: dict[str, str] | None = None
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    tools: list[dict[str, Any]] | None = None


class CreateRequest(_Body):
    """A body that has been checked; `messages` is its `input` in one shape."""

    messages: list[InputMessage]

    @property
    def conversation_id(self) -> str | None:
        return self.conversation.id if isinstance(self.conversation, _Conversation) else self.conversation


def parse_create(body: Any, *, model_name: str | None) -> CreateRequest:
    """Checks a decoded body against what we can do. Raises `InvalidRequest` or `ModelNotFound`, naming the parameter.

    `model_name` is the model that is served; None while it is still being looked for.
    """
    if not isinstance(body, dict):
        raise InvalidRequest("The request body must be a JSON object.")
    body = {name: value for name, value in body.items() if name not in IGNORED}
    for name, harmless in UNSUPPORTED.items():
        if body.pop(name, None) not in harmless:
            raise InvalidRequest(f"The parameter '{name}' is not supported with this value.", param=name)
    try:
        request = msgspec.convert(body, _Body)
    except msgspec.ValidationError as error:
        raise _explain(error, body) from None
    if request.conversation is not None and request.previous_response_id is not None:
        raise InvalidRequest(
            "'conversation' and 'previous_response_id' exclude each other; send one of them.",
            param="conversation",
        )
    if request.model not in (None, "", "codeact", model_name) and model_name is not None:
        raise ModelNotFound(
            f"The model '{request.model}' is not served here. Ask for '{model_name}' or leave 'model' out; "
            "CODEACT_MODEL chooses the server's model.",
            param="model",
        )
    for tool in request.tools or ():
        if tool.get("type") != "code_interpreter":
            raise InvalidRequest(
                f"Tools of type '{tool.get('type')}' are not supported; 'code_interpreter' is always on.",
                param="tools",
            )
    _check_ranges(request)
    return CreateRequest(**msgspec.structs.asdict(request), messages=_messages(request.input))


def _explain(error: msgspec.ValidationError, body: dict[str, Any]) -> InvalidRequest:
    unknown = sorted(set(body) - {field.name for field in msgspec.structs.fields(_Body)})
    if unknown:
        return InvalidRequest(f"Unknown parameter: '{unknown[0]}'.", param=unknown[0])
    reason, _, path = str(error).partition(" - at `$.")
    param = path.rstrip("`").split("[")[0].split(".")[0] or None
    return InvalidRequest(f"Invalid value for '{param}': {reason}.", param=param)


def _check_ranges(request: _Body) -> None:
    ranges: tuple[tuple[str, float, float], ...] = (
        ("temperature", 0, 2),
        ("top_p", 0, 1),
        ("max_output_tokens", 1, 10**7),
        ("max_tool_calls", 0, 10**4),
    )
    for name, low, high in ranges:
        value = getattr(request, name)
        if value is not None and not low <= value <= high:
            raise InvalidRequest(f"'{name}' must be between {low} and {high}, not {value}.", param=name)
    metadata = request.metadata or {}
    if len(metadata) > 16 or any(len(key) > 64 or len(value) > 512 for key, value in metadata.items()):
        raise InvalidRequest(
            "'metadata' takes at most 16 pairs, keys of at most 64 and values of at most 512 characters.",
            param="metadata",
        )


def _messages(given: str | list[dict[str, Any]]) -> list[InputMessage]:
    """The standard's `input` as messages; text stands for one user message with one part."""
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    messages = [_message(item, index) for index, item in enumerate(given)]
    if not any(_has_content(message) for message in messages):
        raise InvalidRequest("'input' is empty: send the user's text.", param="input")
    return messages


def _message(item: Any, index: int) -> InputMessage:
    param = f"input[{index}]"
    if not isinstance(item, dict) or item.get("type", "message") != "message":
        kind = item.get("type") if isinstance(item, dict) else type(item).__name__
        raise InvalidRequest(f"Input items of type '{kind}' are not supported; send messages.", param=param)
    role: Literal["user", "system", "developer", "assistant"] = item.get("role")  # type: ignore[assignment]
    if role not in ("user", "system", "developer", "assistant"):
        raise InvalidRequest(f"'{role}' is no role; use user, system, developer or assistant.", param=f"{param}.role")
    content = item.get("content")
    if isinstance(content, str):
        kind = "output_text" if role == "assistant" else "input_text"
        content = [{"type": kind, "text": content}]
    if not isinstance(content, list):
        raise InvalidRequest("'content' must be text or a list of parts.", param=f"{param}.content")
    return InputMessage(
        id=new_id("msg"),
        role=role,
        content=[_part(part, f"{param}.content[{at}]") for at, part in enumerate(content)],
    )


def _part(part: Any, param: str) -> dict[str, Any]:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in ("input_text", "output_text") and isinstance(part.get("text"), str):
        return {"type": kind, "text": part["text"]}
    if kind == "input_image" and isinstance(part.get("image_url"), str):
        if not part["image_url"].startswith(("data:image/", "http://", "https://")):
            raise InvalidRequest("'image_url' must be a data:image/… or an http(s) URL.", param=param)
        return {"type": kind, "image_url": part["image_url"], "detail": str(part.get("detail") or "auto")}
    raise InvalidRequest(f"Content parts of type '{kind}' are not supported in this form.", param=param)


def _has_content(message: InputMessage) -> bool:
    return any(part.get("text", "").strip() or "image_url" in part for part in message.content)
