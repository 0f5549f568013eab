"""Writes a response as content blocks of Anthropic's Messages API: text, thinking, code with its outputs, and calls."""

import json
from collections.abc import Iterator
from typing import Any

from codeact import events as e
from codeact.ansi import without_sequences
from codeact.server.transports.messages import block_id, tool_id
from codeact.store.references import sha256_of
from sandbox_pool.outputs import DisplayData, Error, ExecuteResult, ExecutionResult, Stream

__all__ = ["MessageBlocks"]

StreamEvent = dict[str, Any]
DELTAS = {"text": "text", "thinking": "thinking", "signature": "signature", "input_json": "partial_json"}
"""The field of each kind of delta."""


class MessageBlocks:
    """Converts the events of one response to the events of a message's content blocks, of which one is open at most.

    Blocks that begin while another one is open follow it, and calls follow the outputs of the code that made them.
    `content` has the blocks that have ended. Without `thinking`, there are no blocks with the model's thinking, and
    with `omits` they have no text, only the signature with which the client returns them.
    """

    def __init__(self, *, thinking: bool, omits: bool = False) -> None:
        self.content: list[dict[str, Any]] = []
        self._thinking = thinking
        self._omits = omits
        self._open: dict[str, Any] | None = None
        self._open_id = ""
        self._texts: list[str] = []
        self._waiting: list[dict[str, Any]] = []
        self._calls: list[dict[str, Any]] = []
        self._shown: set[str] = set()
        self._files: set[str] = set()

    def feed(self, event: e.Event) -> Iterator[StreamEvent]:
        """The stream events that this event causes."""
        match event:
            case e.OutputTextDelta(item_id=item_id, delta=delta) if delta:
                if self._open_id != item_id:
                    yield from self._begin(item_id, {"type": "text", "text": ""})
                yield self._delta("text", delta)
            case e.OutputTextDone(item_id=item_id) if self._open_id == item_id:
                yield from self._end()
            case e.OutputTextAnnotationAdded(annotation=cited) if cited.file_id not in self._files:
                self._files.add(cited.file_id)
                self._waiting.append({"type": "container_upload", "file_id": cited.file_id})
            case e.ReasoningTextDelta(item_id=item_id, delta=delta) if self._thinking and not self._omits and delta:
                if self._open_id == item_id or (self._open is None and item_id not in self._shown):
                    if self._open is None:
                        yield from self._begin(item_id, {"type": "thinking", "thinking": "", "signature": ""})
                    yield self._delta("thinking", delta)
            case e.CodeDelta(item_id=item_id, delta=delta) if delta:
                if self._open_id != item_id:
                    yield from self._begin_code(item_id)
                yield self._delta("input_json", json.dumps(delta, ensure_ascii=False)[1:-1])
            case e.CodeDone(item_id=item_id, code=code):
                yield from self._end_code(item_id, code)
            case e.OutputItemDone(item=item):
                yield from self._item(item)

    def finish(self) -> Iterator[StreamEvent]:
        """Ends the blocks of a response that has ended."""
        if self._open is not None and self._open["type"] == "server_tool_use":
            yield self._delta("input_json", '"}')
        yield from self._end()

    # ---- items -----------------------------------------------------------------------------------------

    def _item(self, item: e.Item) -> Iterator[StreamEvent]:
        match item:
            case e.Reasoning():
                yield from self._reasoned(item)
            case e.Message():
                if self._open_id == item.id:
                    yield from self._end()
            case e.FunctionCall():
                arguments = json.loads(item.arguments or "{}")
                block = {"type": "tool_use", "id": tool_id(item.call_id), "name": item.name, "input": arguments}
                self._calls.append(block)
            case e.CodeInterpreterCall():
                if self._open_id == item.id:
                    yield from self._end_code(item.id, item.code)
                elif item.id not in self._shown:  # The rest of code that waited for a function.
                    used = {"type": "server_tool_use", "id": block_id(item.id), "name": "code_execution"}
                    yield from self._whole(used | {"input": {"code": item.code}})
                yield from self._whole(_result_block(item))
                calls, self._calls = self._calls, []
                for call in calls:
                    yield from self._whole(call)

    def _reasoned(self, item: e.Reasoning) -> Iterator[StreamEvent]:
        signature = item.encrypted_content or ""
        if self._open_id == item.id:
            if (
                signature and self._open is not None and self._open["type"] == "thinking"
            ):  # Not text that was a thought.
                yield self._delta("signature", signature)
            yield from self._end()
        elif self._thinking and item.id not in self._shown:
            text = "" if self._omits else "".join(part.text for part in item.content)
            if text or signature:
                yield from self._whole({"type": "thinking", "thinking": text, "signature": signature})

    def _begin_code(self, item_id: str) -> Iterator[StreamEvent]:
        block = {"type": "server_tool_use", "id": block_id(item_id), "name": "code_execution", "input": {}}
        yield from self._begin(item_id, block)
        yield self._delta("input_json", '{"code": "')

    def _end_code(self, item_id: str, code: str) -> Iterator[StreamEvent]:
        if item_id not in self._shown and code:
            yield from self._begin_code(item_id)
            yield self._delta("input_json", json.dumps(code, ensure_ascii=False)[1:-1])
        if self._open_id == item_id:
            yield self._delta("input_json", '"}')
            yield from self._end()

    # ---- blocks ----------------------------------------------------------------------------------------

    def _begin(self, item_id: str, block: dict[str, Any]) -> Iterator[StreamEvent]:
        yield from self._end()
        self._open, self._open_id = block, item_id
        self._shown.add(item_id)
        yield {"type": "content_block_start", "index": len(self.content), "content_block": dict(block)}

    def _delta(self, kind: str, text: str) -> StreamEvent:
        assert self._open is not None
        if kind == "signature":
            self._open["signature"] = text
        else:
            self._texts.append(text)
        delta = {"type": f"{kind}_delta", DELTAS[kind]: text}
        return {"type": "content_block_delta", "index": len(self.content), "delta": delta}

    def _end(self) -> Iterator[StreamEvent]:
        """Ends the open block, if there is one, and sends those that waited for its end."""
        block, self._open, self._open_id = self._open, None, ""
        if block is not None:
            text = "".join(self._texts)
            self._texts = []
            match block["type"]:
                case "server_tool_use":
                    block["input"] = json.loads(text)
                case kind:
                    block[kind] = text
            yield from self._stop(block)
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            yield from self._whole(each)

    def _whole(self, block: dict[str, Any]) -> Iterator[StreamEvent]:
        if self._open is not None:
            self._waiting.append(block)
            return
        started = block | ({"input": {}} if block["type"] == "tool_use" else {})
        yield {"type": "content_block_start", "index": len(self.content), "content_block": started}
        if block["type"] == "tool_use":
            arguments = json.dumps(block["input"], ensure_ascii=False)
            delta = {"type": "input_json_delta", "partial_json": arguments}
            yield {"type": "content_block_delta", "index": len(self.content), "delta": delta}
        yield from self._stop(block)

    def _stop(self, block: dict[str, Any]) -> Iterator[StreamEvent]:
        self.content.append(block)
        yield {"type": "content_block_stop", "index": len(self.content) - 1}


def _result_block(item: e.CodeInterpreterCall) -> dict[str, Any]:
    return {
        "type": "code_execution_tool_result",
        "tool_use_id": block_id(item.id),
        "content": _result(item, item.result),
    }


def _result(item: e.CodeInterpreterCall, result: ExecutionResult | None) -> dict[str, Any]:
    if result is not None and result.status == "timeout":
        return {"type": "code_execution_tool_result_error", "error_code": "execution_time_exceeded"}
    stdout, stderr = _texts(item.notebook_outputs)
    if result is None and not item.waits_for:  # The code did not run; the observation says why.
        stderr = item.observation or "The code did not run to its end."
    elif result is not None and result.status != "ok" and not stderr:
        stderr = result.detail
    images = [sha256_of(part.url) for part in item.outputs or () if isinstance(part, e.ImageOutput)]
    return {
        "type": "code_execution_result",
        "stdout": stdout,
        "stderr": stderr,
        "return_code": 0 if item.waits_for or (result is not None and result.status == "ok") else 1,
        "content": [{"type": "code_execution_output", "file_id": sha256} for sha256 in images if sha256 is not None],
    }


def _texts(outputs: list[Stream | DisplayData | ExecuteResult | Error]) -> tuple[str, str]:
    """What the code wrote to stdout, with its rich values as text, and to stderr, with its traceback."""
    stdout: list[str] = []
    stderr: list[str] = []
    for output in outputs:
        match output:
            case Stream(name, text):
                (stdout if name == "stdout" else stderr).append(text)
            case Error():
                stderr.append("\n".join(output.traceback) or f"{output.ename}: {output.evalue}")
            case DisplayData() | ExecuteResult():
                stdout.append(f"{output.data.get('text/plain', '')}\n")
    return without_sequences("".join(stdout)), without_sequences("".join(stderr))
