"""The same tools in two other formats, for a comparison with code: one call at a time, as JSON or as text.

The formats are those that the CodeAct paper compares (Wang et al., 2024, arXiv:2402.01030, section 2.2). A model says
either `Action:` with one call, or `Answer:` with its result.
"""

import ast
import json
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any

from codeact import events as e
from codeact.api.pool import Pool
from codeact.api.result import AnswerFailed
from codeact.errors import CodeActError
from codeact.evals.outcome import Verdict
from codeact.evals.record import Setup
from codeact.evals.recording import Recording, check
from codeact.evals.task import Task
from codeact.ids import new_id
from codeact.model import ChatMessage, Model, Sampling, TextDelta, Usage
from codeact.observations.plaintext import excerpt
from codeact.tools.function import Function, FunctionError, Kind
from codeact.tools.host_functions import host_functions

__all__ = ["FORMATS", "ask_in_format", "fits"]

FORMATS = ("code", "json", "text")
VALUE_CHARS = 2_000
REPLY_CHARS = 200_000

_HOW = {
    "json": """To call a function, write `Action:` and one JSON object with its name and its arguments by name, such as
Action: {"tool": "add", "args": {"a": 1, "b": 2}}""",
    "text": """To call a function, write `Action:`, its name and its arguments in order, with commas between, such as
Action: add, 1, 2""",
}
_PROMPT = """You solve a task by calling functions. You have these:

{functions}

{how}
Call one function at a time, and then wait for its value. When you know the result, write `Answer:` and the result
alone. Each reply has either one `Action:` or one `Answer:`."""
_NEITHER = "Write either `Action:` with one call, or `Answer:` with the result."


def fits(task: Task) -> bool:
    """Whether the task can be solved without code: it has functions, one question, no files and no approvals."""
    return bool(task.tools()) and len(task.questions) == 1 and not task.files and task.approve is None


async def ask_in_format(
    task: Task, setup: Setup, recording: Recording, model: Model, pool: Pool, seed: int | None
) -> Verdict:
    """Asks the task's question in the setup's format, and returns the checker's verdict.

    The functions run in this process. Raises `AnswerFailed` if the model cannot be asked.
    """
    functions = {function.path: function for function in host_functions(task.tools())}
    listed = "\n".join(f"- {each.signature()}: {each.description}" for each in functions.values())
    messages = [
        ChatMessage("system", _PROMPT.format(functions=listed, how=_HOW[setup.format])),
        ChatMessage("user", task.questions[0]),
    ]
    sampling = Sampling(seed=seed, max_output_tokens=task.limits.max_output_tokens)
    tries = task.tries
    answered = _Answered(task.questions[0], model.name)
    for _ in range(task.limits.max_turns * task.tries):
        reply = await answered.reply(model, messages, sampling, recording)
        messages.append(ChatMessage("assistant", reply))
        answer, action = _after(reply, "Answer:"), _after(reply, "Action:")
        if answer is not None and (action is None or reply.find("Answer:") < reply.find("Action:")):
            answered.end(answer, recording)
            verdict = await check(task, recording, pool)
            tries -= 1
            if verdict.passed or tries <= 0:
                return verdict
            answered = _Answered(task.feedback, model.name)
            messages.append(ChatMessage("user", task.feedback))
        elif action is not None:
            messages.append(ChatMessage("user", await answered.call(functions, action, setup.format)))
        else:
            messages.append(ChatMessage("user", _NEITHER))
    answered.end("", recording, notices=[e.Notice("max_turns", "The model had no turn left.")])
    return await check(task, recording, pool)


class _Answered:
    """One answer while it is made: a response like those of the service, for the record."""

    def __init__(self, question: str, model: str) -> None:
        self._question = question
        self._response = e.Response(id=new_id("resp"), created_at=time.time(), model=model, output=[])
        self._usage = Usage()

    async def reply(
        self, model: Model, messages: Sequence[ChatMessage], sampling: Sampling, recording: Recording
    ) -> str:
        text, usage = "", None
        try:
            async with aclosing(model.stream(messages, sampling)) as events:
                async for event in events:
                    if isinstance(event, TextDelta) and len(text) < REPLY_CHARS:
                        text += event.text
                    elif isinstance(event, Usage):
                        usage = event
        except CodeActError as error:
            self._response.status, self._response.error = "failed", e.ResponseError(error.code, error.message)
            self._record(recording)
            raise AnswerFailed(self._response) from error
        self._usage += usage if usage is not None else await model.estimate(messages, text)
        return text

    async def call(self, functions: Mapping[str, Function], action: str, format_: str) -> str:
        """Makes the call that the model wrote, and returns what it is told."""
        item = e.McpCall(id=new_id("mcp"), server_label="host", name="", arguments=excerpt(action, VALUE_CHARS))
        self._response.output.append(item)
        try:
            function, arguments = _read_json(functions, action) if format_ == "json" else _read_text(functions, action)
            item.name, item.arguments = function.path, json.dumps(arguments, default=str)
            assert function.answer is not None
            item.output = excerpt(await function.answer(arguments), VALUE_CHARS)
        except FunctionError as error:
            item.status, item.error = "failed", e.McpError.of(error.message)
            return error.message
        item.status = "completed"
        return item.output

    def end(self, answer: str, recording: Recording, notices: Sequence[e.Notice] = ()) -> None:
        part = e.OutputText(text=answer)
        self._response.output.append(e.Message(id=new_id("msg"), content=[part], status="completed"))
        self._response.status, self._response.notices = "completed", list(notices)
        self._record(recording)

    def _record(self, recording: Recording) -> None:
        usage = self._usage
        self._response.usage = e.ResponseUsage(
            input_tokens=usage.input_tokens,
            input_tokens_details=e.InputTokensDetails(cached_tokens=usage.cached_tokens),
            output_tokens=usage.output_tokens,
            total_tokens=usage.input_tokens + usage.output_tokens,
            cost_usd=usage.cost_usd,
        )
        recording.add(self._question, self._response)


def _after(reply: str, word: str) -> str | None:
    """What stands after the first `word`, up to the next one of either kind."""
    _, found, rest = reply.partition(word)
    if not found:
        return None
    ends = [index for other in ("Action:", "Answer:", "End Action") if (index := rest.find(other)) >= 0]
    return rest[: min(ends)].strip() if ends else rest.strip()


def _function(functions: Mapping[str, Function], name: Any) -> Function:
    if name not in functions:
        raise FunctionError(f"There is no function {str(name)[:100]!r}. There are {', '.join(functions)}.")
    return functions[name]


def _read_json(functions: Mapping[str, Function], action: str) -> tuple[Function, dict[str, Any]]:
    text = action.strip().removeprefix("```json").strip("` \n")
    try:
        call = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FunctionError(f"That is no JSON object: {error}") from None
    if not isinstance(call, dict) or "tool" not in call:
        raise FunctionError('The JSON object needs "tool" and "args".')
    function, given = _function(functions, call["tool"]), call.get("args", {})
    if isinstance(given, list):
        return function, _by_position(function, given)
    if not isinstance(given, dict):
        raise FunctionError('"args" is an object, or a list.')
    return function, given


def _read_text(functions: Mapping[str, Function], action: str) -> tuple[Function, dict[str, Any]]:
    line = action.strip()[:VALUE_CHARS].partition("\n")[0]
    name, *given = re.split(r",(?![^\[({]*[\])}])", line)
    return _function(functions, name.strip()), _by_position(
        _function(functions, name.strip()), [_literal(text.strip()) for text in given]
    )


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return text


def _by_position(function: Function, given: Sequence[Any]) -> dict[str, Any]:
    names = list(function.parameters["properties"])
    arguments: dict[str, Any] = {}
    for index, value in enumerate(given):
        name = names[min(index, len(names) - 1)] if names else ""
        if name and function.kinds.get(name) is Kind.VAR_POSITIONAL:
            arguments.setdefault(name, []).append(value)
        elif index < len(names):
            arguments[name] = value
        else:
            raise FunctionError(f"{function.path}() takes {len(names)} arguments, not {len(given)}.")
    return arguments
