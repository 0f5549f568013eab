"""`ask` and `ask_all`: functions with which the code of an answer asks the model; they return values.

Each call is a single question without tools and history. It counts against the answer's budget and ends if the answer
is stopped. With a JSON schema the value is checked, and the model is asked once more if it does not match.
"""

import base64
import json
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any

import anyio

from codeact.agent.model_budget import MeteredModel, ModelBudget
from codeact.disclosure import disclosed
from codeact.errors import CodeActError
from codeact.json_schemas import InvalidSchema, check_schema, problem
from codeact.model import ChatMessage, Finish, Model, Sampling, TextDelta
from codeact.tools.function import Function, FunctionError
from codeact.tools.host_functions import Tool, host_functions

__all__ = ["ask_functions"]

MOST_PROMPTS = 64
"""Limit for one call of `ask_all`."""
MOST_CHARS = 400_000
"""Limit for one answer, in case the model's server ignores the limit on tokens."""
MOST_IMAGES, IMAGE_BYTES = 8, 4_000_000
KINDS = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"GIF8": "gif", b"RIFF": "webp"}


def ask_functions(model: Model, budget: ModelBudget, sampling: Sampling) -> list[Function]:
    """Creates `ask` and `ask_all` for the code of one answer; all calls count against `budget`."""
    asking = _Asking(
        MeteredModel(model, budget), replace(sampling, stop=(), tools=(), tool_choice="auto", logprobs=None)
    )
    functions = host_functions([Tool(asking.ask, "ask"), Tool(asking.ask_all, "ask_all")])
    return [replace(function, is_own=True) for function in functions]


class _Asking:
    def __init__(self, model: Model, sampling: Sampling) -> None:
        self._model, self._sampling = model, sampling

    async def ask(self, prompt: str, schema: dict[str, Any] | None = None, images: list[bytes] | None = None) -> Any:
        """Asks the language model a question, which sees nothing else. Returns its text, or with a JSON schema a value.

        Give it pieces of long texts, one at a time, instead of reading them yourself. `images` are bytes of files.
        """
        content = [{"type": "text", "text": prompt}, *map(_image_part, (images or [])[:MOST_IMAGES])]
        if schema is None:
            return await self._reply([ChatMessage("user", content if images else prompt)])
        try:
            check_schema(schema)
            return await self._value(content, schema)
        except InvalidSchema as error:
            raise FunctionError(f"ask(): {error}") from None

    async def ask_all(self, prompts: list[str], schema: dict[str, Any] | None = None) -> list[Any]:
        """Asks the language model several questions at once, and returns the answers in their order."""
        if len(prompts) > MOST_PROMPTS:
            raise FunctionError(f"ask_all() takes at most {MOST_PROMPTS} prompts; these are {len(prompts)}.")
        answers: list[Any] = [None] * len(prompts)
        failed: list[str] = []

        async def one(index: int) -> None:
            try:
                answers[index] = await self.ask(prompts[index], schema)
            except FunctionError as error:
                failed.append(f"prompt {index}: {error.message}")
                tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            for index in range(len(prompts)):
                tasks.start_soon(partial(one, index))
        if failed:
            raise FunctionError(f"ask_all(): {failed[0]}")
        return answers

    async def _value(self, content: list[dict[str, Any]], schema: dict[str, Any]) -> Any:
        demand = f"\n\nAnswer with nothing but JSON that fits this JSON schema:\n{json.dumps(schema)}"
        content = [{"type": "text", "text": content[0]["text"] + demand}, *content[1:]]
        messages = [ChatMessage("user", content if len(content) > 1 else content[0]["text"])]
        reply = await self._reply(messages)
        value, wrong = _checked(reply, schema)
        if wrong is not None:
            again = f"That does not fit: {wrong}. Answer with the mended JSON alone."
            reply = await self._reply([*messages, ChatMessage("assistant", reply), ChatMessage("user", again)])
            value, wrong = _checked(reply, schema)
        if wrong is not None:
            raise FunctionError(f"ask(): the model's answer does not fit the schema: {wrong}")
        return value

    async def _reply(self, messages: Sequence[ChatMessage]) -> str:
        """Returns the model's text without thoughts. Raises `FunctionError`."""
        pieces: list[str] = []
        chars, cut = 0, False
        try:
            async with aclosing(self._model.stream(messages, self._sampling)) as events:
                async for event in events:
                    if isinstance(event, TextDelta):
                        pieces.append(event.text)
                        chars += len(event.text)
                        if chars > MOST_CHARS:
                            cut = True
                            break
                    elif isinstance(event, Finish):
                        cut = event.reason == "length"
        except CodeActError as error:
            code, message = disclosed(error)
            raise FunctionError(f"ask(): {message} ({code})") from error
        if cut:
            raise FunctionError("ask(): the model's answer is longer than it may be. Ask for less at a time.")
        return "".join(pieces).rpartition("</think>")[2].strip()


def _checked(reply: str, schema: dict[str, Any]) -> tuple[Any, str | None]:
    """Returns the value, and what is wrong with it or None. The JSON may be in a Markdown fence."""
    text = reply.strip()
    if text.startswith("```") and text.endswith("```"):
        text = text[3:-3].partition("\n")[2]
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        return None, f"it is no JSON ({error})"
    return value, problem(schema, value)


def _image_part(content: bytes) -> dict[str, Any]:
    kind = next((kind for start, kind in KINDS.items() if content.startswith(start)), None)
    if kind is None or len(content) > IMAGE_BYTES:
        raise FunctionError(f"ask(): images are PNG, JPEG, GIF or WebP files of at most {IMAGE_BYTES:,} bytes.")
    url = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    return {"type": "image_url", "image_url": {"url": url, "detail": "auto"}}
